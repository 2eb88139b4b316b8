// containerd's own code that runs image verifiers, for a test of ours.
module github.com/awskms-offline/awskms-offline/e2e/clients/containerd

go 1.26.4

require (
	github.com/containerd/containerd/v2 v2.3.4
	github.com/opencontainers/go-digest v1.0.0
	github.com/opencontainers/image-spec v1.1.1
	github.com/pelletier/go-toml/v2 v2.3.1
)

require (
	github.com/containerd/log v0.1.0 // indirect
	github.com/sirupsen/logrus v1.9.4 // indirect
	golang.org/x/sys v0.46.0 // indirect
)
