"""Runs in the guest: programs on request, several at once, over one byte stream.

    agent.py PORT

Each line is JSON: {id, argv, stdin, timeout} in; {id, code, out, err} back when the program has ended (code 124: at its
time-out). The first line back is {id: 0} when all is ready.
"""

import json
import subprocess
import sys
import threading


def main():
    lock = threading.Lock()
    with open(sys.argv[1], "rb+", buffering=0) as port:
        def answer(**fields):
            with lock:
                text = json.dumps(fields).encode() + b"\n"
                while text:
                    text = text[port.write(text):]

        def run(request):
            try:
                done = subprocess.run(request["argv"], input=request["stdin"], capture_output=True, text=True,
                                      timeout=request["timeout"], errors="replace")
                answer(id=request["id"], code=done.returncode, out=done.stdout, err=done.stderr)
            except subprocess.TimeoutExpired as exc:
                answer(id=request["id"], code=124, out=(exc.stdout or b"").decode(errors="replace"), err=str(exc))
            except OSError as exc:
                answer(id=request["id"], code=127, out="", err=str(exc))

        answer(id=0)
        rest = b""
        while True:
            rest += port.read(4096)
            *lines, rest = rest.split(b"\n")
            for line in lines:
                threading.Thread(target=run, args=(json.loads(line),), daemon=True).start()


if __name__ == "__main__":
    main()
