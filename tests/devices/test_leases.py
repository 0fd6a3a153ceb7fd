from __future__ import annotations

from pathlib import Path

import pytest

from mftasks.devices.gpus import Device
from mftasks.devices.leases import lease
from mftasks.errors import MfError, NoDeviceFree
from tests.devices.holders import free, leased


def test_the_first_free_devices_are_leased_in_the_order_of_the_candidates(folder: Path) -> None:
    with leased(folder, of=4) as first, leased(folder, n=2, of=4) as more:
        assert [device.id for device in (*first, *more)] == ["0", "1", "2"]
    with leased(folder, of=4) as again:
        assert again == first


def test_an_error_leaves_nothing_held(folder: Path) -> None:
    with pytest.raises(ZeroDivisionError), leased(folder, n=2, of=2):
        _ = 1 / 0
    assert free(folder, of=2)
    with leased(folder, of=2):
        with pytest.raises(NoDeviceFree), leased(folder, n=2, of=2, wait_seconds=0):
            pass
        with leased(folder, of=2) as second:
            assert second[0].id == "1"
    assert free(folder, of=2)


def test_an_error_of_the_training_is_not_taken_for_one_of_the_folder(folder: Path) -> None:
    with pytest.raises(FileNotFoundError), leased(folder):
        raise FileNotFoundError("ratings.npz")


def test_the_order_is_that_of_free_memory_at_the_moment_of_the_try(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cards = [Device("gpu", f"GPU-{number}", "A100") for number in range(2)]
    monkeypatch.setattr("mftasks.devices.gpus.by_free_memory", lambda devices: devices[::-1])
    with lease(cards, 1, folder=folder, holder="a") as got:
        assert got == (cards[1],)


def test_the_locks_are_for_this_user_alone_and_safe_of_name(folder: Path) -> None:
    mig = Device("gpu", "MIG-GPU-1/../7", "MIG-GPU-1/../7")
    with lease([mig], 1, folder=folder, holder="a", wait_seconds=0):
        assert folder.stat().st_mode & 0o777 == 0o700
        assert {path.name for path in folder.iterdir()} == {"gpu.turn", "gpu-MIG-GPU-1_.._7.lock"}
        with (
            pytest.raises(NoDeviceFree, match=r"MIG-GPU-1/../7 is held by a \(process"),
            lease([mig], 1, folder=folder, holder="b", wait_seconds=0),
        ):
            pass


def test_the_file_of_a_lock_is_always_the_same(folder: Path) -> None:
    inodes = set()
    for _ in range(2):
        with leased(folder):
            inodes.add((folder / "cpu-0.lock").stat().st_ino)
    assert inodes == {(folder / "cpu-0.lock").stat().st_ino}


def test_a_holder_that_could_not_sign_is_another_process(folder: Path) -> None:
    with leased(folder):
        (folder / "cpu-0.lock").write_text("gibberish")
        with (
            pytest.raises(NoDeviceFree, match="cpu 0 is held by another process;"),
            leased(folder, wait_seconds=0),
        ):
            pass


def test_a_folder_that_cannot_keep_locks_is_named_with_the_variable(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(MfError, match=r"/file: .*MF_LEASES"), leased(tmp_path / "file"):
        pass


def test_a_link_in_the_folder_is_not_followed(folder: Path, tmp_path: Path) -> None:
    folder.mkdir()
    (tmp_path / "precious").write_text("kept")
    (folder / "cpu-0.lock").symlink_to(tmp_path / "precious")
    with pytest.raises(MfError, match="MF_LEASES"), leased(folder):
        pass
    assert (tmp_path / "precious").read_text() == "kept"
