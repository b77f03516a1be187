"""What has been said, and what has not."""

import os
import threading

from c2cotel_instrumentation.once import Once


def test_each_is_new_once():
    new = Once()
    assert [new("a"), new("a"), new(("a", 1)), new("a"), new(("a", 1))] == [
        *(True, False),
        *(True, False, False),
    ]


def test_of_threads_that_ask_together_one_is_the_first():
    new = Once()
    together = threading.Barrier(8)
    answers = []

    def ask():
        together.wait()
        answers.extend([new(number) for number in range(200)])

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers.count(True) == 200


def test_a_forked_process_says_for_itself():
    new = Once()
    new("a")
    child = os.fork()
    if not child:
        os._exit(0 if [new("a"), new("a")] == [True, False] else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert not new("a")
