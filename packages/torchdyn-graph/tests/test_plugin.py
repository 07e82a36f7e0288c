"""The package in the registry."""

from torchdyn_core.testing import check_plugin


def test_it_is_a_sound_plugin():
    check_plugin("graph")
