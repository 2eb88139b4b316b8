//go:build !linux && !darwin

package audit

const limitedVariable = "AWSKMS_OFFLINE_TEST_LIMITED"

func runLimited(string) int { return 0 }
