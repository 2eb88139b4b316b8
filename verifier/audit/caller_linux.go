package audit

import (
	"os"
	"strconv"
	"strings"
)

// programOf reads the path of a process's program, or, of another user's process, its name: proc_pid_exe(5),
// proc_pid_comm(5).
func programOf(pid int) string {
	folder := "/proc/" + strconv.Itoa(pid)
	if path, err := os.Readlink(folder + "/exe"); err == nil {
		return path
	}
	name, _ := os.ReadFile(folder + "/comm")
	return strings.TrimSuffix(string(name), "\n")
}
