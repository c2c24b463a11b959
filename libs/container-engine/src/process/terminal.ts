/**
 * Runs a command in a terminal of its own, in the host's Python because Node has no way to make one. stdin and
 * stdout are the terminal's; fd 3 takes its size, a line `columns rows` each time it changes, the first at once.
 * Whatever ends stdin sends the terminal's end of file.
 */
export const TERMINAL_SCRIPT = `
import fcntl, os, pty, select, signal, struct, sys, termios
def resize(line):
    columns, rows = map(int, line.split())
    fcntl.ioctl(master, termios.TIOCSWINSZ, struct.pack('HHHH', rows, columns, 0, 0))
sizes = os.fdopen(3, 'rb', buffering=0)
pid, master = pty.fork()
if pid == 0:
    sizes.close()
    try:
        os.execvp(sys.argv[3], sys.argv[3:])
    except OSError as error:
        os.write(2, ('%s: %s\\n' % (sys.argv[3], error.strerror)).encode())
        os._exit(127)
resize(' '.join(sys.argv[1:3]))
sources, pending = [0, 3, master], b''
while master in sources:
    for fd in select.select(sources, [], [])[0]:
        try:
            data = os.read(fd, 65536)
        except OSError:
            data = b''
        if not data:
            sources.remove(fd)
            if fd == 0:
                os.write(master, b'\\x04')
        elif fd == master:
            while data:
                data = data[os.write(1, data):]
        elif fd == 0:
            while data:
                data = data[os.write(master, data):]
        else:
            *lines, pending = (pending + data).split(b'\\n')
            for line in lines:
                resize(line.decode())
status = os.waitpid(pid, 0)[1]
code = os.waitstatus_to_exitcode(status)
sys.exit(code if code >= 0 else 128 - code)
`;
