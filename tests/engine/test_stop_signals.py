"""What a process does about signals; each case in a process of its own."""
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

FOLDER = Path(__file__).parents[2] / 'ssvideo/engine'  # imported by itself, it needs nothing else
PROGRAM = """
import os, sys, time
import stop_signals
stop_signals.SAME = 600
with stop_signals.StopSignals() as signals:
    child = os.fork()
    print('ready', child, flush=True)
    while signals.received is None:
        time.sleep(0.01)
    print('received', signals.received, 'child', os.waitpid(child, os.WNOHANG)[0] if child else 'me', flush=True)
    sys.stdin.readline()
    stop_signals.SAME = 0
    print('later', flush=True)
    time.sleep(600)
"""


def start():
    process = subprocess.Popen([sys.executable, '-c', PROGRAM], cwd=FOLDER, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                               text=True, start_new_session=True)
    ready = [process.stdout.readline().split() for _ in range(2)]
    return process, next(int(words[1]) for words in ready if words[1] != '0')


def alive(pid):
    try:
        return Path(f'/proc/{pid}/stat').read_text().split()[2] != 'Z'
    except FileNotFoundError:
        return False


def test_stop_signals__the_first_is_noted_and_a_later_one_ends_at_once():
    process, child = start()
    os.killpg(process.pid, signal.SIGTERM)
    assert process.stdout.readline().split() == ['received', '15', 'child', '0'], 'the child takes no notice'
    os.killpg(process.pid, signal.SIGTERM)  # the same one, handed on by a launcher
    process.stdin.write('\n')
    process.stdin.flush()
    assert process.stdout.readline() == 'later\n', 'it goes on'
    os.kill(process.pid, signal.SIGINT)
    assert process.wait(timeout=120) == -signal.SIGINT
    os.kill(child, signal.SIGKILL)


def test_stop_signals__only_its_parent_ends_a_child():
    process, child = start()
    os.kill(child, signal.SIGTERM)
    time.sleep(0.3)
    assert alive(child)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
