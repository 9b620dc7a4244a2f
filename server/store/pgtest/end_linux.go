package pgtest

import (
	"os/exec"
	"syscall"
)

// endWithUs has the process end when the test's process does, however that ends.
// The signal is sent when the thread that started the process ends, which Go's main
// threads do not before the process.
func endWithUs(cmd *exec.Cmd) { cmd.SysProcAttr.Pdeathsig = syscall.SIGQUIT }
