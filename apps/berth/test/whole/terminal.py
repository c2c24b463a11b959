"""Runs a command on a terminal of its own and plays a script to it: ['expect', regex] | ['send', text] | ['size', columns, rows]."""
import fcntl, json, os, pty, re, select, signal, struct, sys, termios, time

steps, command = json.loads(sys.argv[1]), sys.argv[2:]
child, terminal = pty.fork()
if child == 0:
    os.execvp(command[0], command)


def size(columns, rows):
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))


def read(deadline):
    """What comes next; empty at the end."""
    if not select.select([terminal], [], [], max(0, deadline - time.monotonic()))[0]:
        os.kill(child, signal.SIGKILL)
        sys.exit(f"not seen in time; so far: {seen!r}")
    try:
        return os.read(terminal, 65536).decode(errors="replace")
    except OSError:  # Linux's word for the end of a terminal.
        return ""


size(80, 24)
seen = ""
for step, *values in steps:
    if step == "send":
        os.write(terminal, values[0].encode())
    elif step == "size":
        size(*values)
    else:
        deadline = time.monotonic() + 30
        while not (found := re.search(values[0], seen)):
            piece = read(deadline)
            if not piece:
                sys.exit(f"it ended before {values[0]!r}: {seen!r}")
            seen += piece
        seen = seen[found.end():]
deadline = time.monotonic() + 30
while piece := read(deadline):
    seen += piece
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
