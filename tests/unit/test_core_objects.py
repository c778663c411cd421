"""What Python can do to the core's objects: nothing that ends the process."""

import copy
import pickle
import subprocess
import sys
import textwrap

import pytest

from otp_actions import _core

MADE = [
    _core.Keyring([b"k" * 32]),
    _core.NoLedger(),
    _core.ProcessLedger(9),
    _core.Rules(True, True, 1, 1, 1, 1, str.lower, True),
    _core.ScriptLedger(b"", print, print),
    _core.Watch({}, {}),
]


def name(made):
    return type(made).__name__


@pytest.mark.parametrize("made", MADE, ids=name)
@pytest.mark.parametrize(
    "write",
    [copy.copy, copy.deepcopy, pickle.dumps, lambda made: pickle.dumps(made, 0), lambda made: made.__reduce__()],
)
def test_is_neither_copied_nor_written_down(made, write):
    """A keyring least of all."""
    with pytest.raises(TypeError, match="cannot be copied or pickled"):
        write(made)


@pytest.mark.parametrize("made", MADE, ids=name)
def test_nobody_derives_from_it(made):
    """What finds the object inside looks in one place."""
    with pytest.raises(TypeError, match="not an acceptable base type"):
        type("Mine", (type(made),), {})
    with pytest.raises(TypeError):
        type("Mine", (_core.Ledger, type(made)), {})


def test_hot_methods_refuse_what_is_no_argument_of_theirs():
    ring, rules = MADE[0], MADE[3]
    for ring_of, arguments in [
        (ring, ()),
        (ring, (None,) * 9),
        (ring, ("x", None, "", 6, 3, "now", 1, 1, 0)),
        (ring, ("x", None, "", 2**70, 3, 1.0, 1, 1, 0)),
        (_core.Keyring.__new__(_core.Keyring), ("x", None, "", 6, 3, 1.0, 1, 1, 0)),
    ]:
        with pytest.raises((TypeError, ValueError)):
            ring_of.issue(*arguments)
    context = ring.issue("x", None, "", 6, 3, 1.0, 300, 900, 0)[1]
    for ring_of, arguments in [
        (ring, (context,)),
        (ring, (context, "1", "", 1, ring, None, MADE[1])),
        (ring, (context, "1", "", "1", rules, None, MADE[1])),
        (ring, (context, "1", "", 1, _core.Rules.__new__(_core.Rules), None, MADE[1])),
        (_core.Keyring.__new__(_core.Keyring), (context, "1", "", 1, rules, None, MADE[1])),
    ]:
        with pytest.raises((TypeError, ValueError)):
            ring_of.verify(*arguments)
    with pytest.raises(TypeError):
        _core.Keyring.issue(rules, "x", None, "", 6, 3, 1.0, 300, 900, 0)
    assert _core.Watch({}, {}).is_quiet()
    with pytest.raises(TypeError):
        _core.Watch.__new__(_core.Watch).is_quiet()


@pytest.mark.skipif(sys.version_info < (3, 12), reason="Python has dict watchers since 3.12")
def test_without_a_dict_watcher_left_every_look_finds_a_change():
    code = textwrap.dedent("""
        import ctypes
        nothing = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_int, *[ctypes.c_void_p] * 3)(lambda *_: 0)
        add = ctypes.pythonapi.PyDict_AddWatcher
        try:
            while add(nothing) >= 0:
                pass
        except RuntimeError:
            pass
        from django.conf import settings
        from otp_actions import _core, conf
        from otp_actions.__main__ import generate_key
        for _ in range(2):
            assert not _core.Watch({}, {}).is_quiet()
        settings.configure(OTP_SIGNING_KEY=generate_key())
        for length in (4, 8):
            settings.OTP_DEFAULT_LENGTH = length
            assert conf.current().length == length
    """)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")


# Python 3.12 and later collect between bytecodes alone.
def test_first_call_may_be_interrupted_by_whatever_the_collector_runs():
    code = textwrap.dedent("""
        import gc
        from otp_actions import _core
        ring, ledger = _core.Keyring([b"k" * 32]), _core.ProcessLedger(9)
        rules = _core.Rules(True, True, 0, 1, 0, 1, str, True)
        issued = [ring.issue("x", None, "", 6, 3, 1.0, 300, 900, 0) for _ in range(2)]
        done = []


        def verify():
            otp, context = issued.pop()
            done.append(ring.verify(context, otp, "", 1, rules, None, ledger)["identifier"])


        class Garbage:
            def __del__(self):
                verify()


        otp, context = issued.pop()
        gc.disable()
        held = [{} for _ in range(500)]  # So that the next dict is a new one, which the collector counts.
        gc.collect()
        garbage = Garbage()
        garbage.itself = garbage
        del garbage
        more = [[] for _ in range(5)]
        gc.set_threshold(1, 1000, 1000)
        gc.enable()
        ring.verify(context, otp, "", 1, rules, None, ledger)
        gc.collect()
        assert done == ["x"], done
    """)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def raw(kind):
    return kind.__new__(kind)


RING, NONE, PROCESS, RULES, SCRIPT, WATCH = MADE
CONTEXT = RING.issue("x", None, "", 6, 3, 1.0, 300, 900, 0)[1]
KEY = b"c" * 17
ON_WHAT_WAS_NEVER_MADE = {
    "issue_decoy": lambda: raw(_core.Keyring).issue_decoy("x", None, "", 3, 1.0, 300, 900, 0),
    "count_attempt": lambda: raw(_core.Keyring).count_attempt(CONTEXT, 1, RULES, None, NONE),
    "count_attempt, rules": lambda: RING.count_attempt(CONTEXT, 1, raw(_core.Rules), None, NONE),
    "count_attempt, ledger": lambda: RING.count_attempt(CONTEXT, 1, RULES, None, raw(_core.ProcessLedger)),
    "describe": lambda: raw(_core.Keyring).describe(CONTEXT),
    "revoke": lambda: raw(_core.Keyring).revoke(CONTEXT, 1, NONE),
    "revoke, ledger": lambda: RING.revoke(CONTEXT, 1, raw(_core.NoLedger)),
    "advance_epoch": lambda: raw(_core.Keyring).advance_epoch("x", "", 1.0, 1, RULES, NONE),
    "advance_epoch, rules": lambda: RING.advance_epoch("x", "", 1.0, 1, raw(_core.Rules), NONE),
    "digests": lambda: raw(_core.Keyring).digests("use", "x", "", RULES),
    "digests, rules": lambda: RING.digests("use", "x", "", raw(_core.Rules)),
    "seal": lambda: raw(_core.Keyring).seal(b"", 1),
    "open": lambda: raw(_core.Keyring).open(CONTEXT),
    "verify, ledger": lambda: RING.verify(CONTEXT, "1", "", 1, RULES, None, raw(_core.ScriptLedger)),
    "canonical": lambda: raw(_core.Rules).canonical("x"),
    "size": lambda: raw(_core.ProcessLedger).size,
    "capacity": lambda: raw(_core.ProcessLedger).capacity,
    "memory": lambda: raw(_core.ProcessLedger).memory,
    **{
        f"{kind.__name__}.{method}": lambda kind=kind, method=method, arguments=arguments: getattr(raw(kind), method)(
            *arguments
        )
        for kind in (_core.NoLedger, _core.ProcessLedger, _core.ScriptLedger)
        for method, arguments in {
            "take": (((KEY, 1, 1),), (), 1),
            "advance": (KEY, 1, 1, 1, ()),
            "give_back": (((KEY, 1, 1), 1), 1),
        }.items()
    },
}


@pytest.mark.parametrize("name", ON_WHAT_WAS_NEVER_MADE)
def test_what_was_never_made_does_nothing(name):
    with pytest.raises(TypeError):
        ON_WHAT_WAS_NEVER_MADE[name]()
