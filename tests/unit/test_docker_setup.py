"""What `setup` writes: who gets which secret, how files are guarded, that it may run again, and rotation."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from broker.errors import KeyringError
from broker.keyring import load
from broker.runtime.locks import try_lock
from broker.subjects import channels_of
from deploy.docker import setup, volumes
from deploy.docker.setup import CLUSTER, begin_rotation, finish_rotation, main, nodes_wanted, open_stack, set_up
from deploy.errors import HomeError

DATABASE_READERS = {volumes.AUDIT_DB, volumes.SHOP_DB, volumes.TOKENS}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The volumes after one run of `setup`: sealing keys is slow on purpose, so once for all tests that only look."""
    root = tmp_path_factory.mktemp("volumes") / "volumes"
    volumes.make_folders(root)
    asyncio.run(set_up(root))
    return root


def contents(root: Path) -> dict[str, bytes]:
    """Return every file below a folder."""
    return {str(path.relative_to(root)): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}


def test_every_file_is_closed_to_others(made: Path) -> None:
    modes = {path: path.stat().st_mode & 0o777 for path in made.rglob("*") if path.is_file()}
    assert modes
    for path, mode in modes.items():
        assert mode == (0o640 if path.parent.name in DATABASE_READERS else 0o600), path


def test_each_role_gets_its_own_keys_and_no_others(made: Path) -> None:
    for role in volumes.RUNNING:
        folder = made / volumes.role_volume(role)
        assert [path.name for path in folder.glob("*.keys")] == [f"{role}.keys"]
        ring = load(folder / f"{role}.keys", (folder / "passphrase").read_text().strip())
        assert ring.owner == role
        assert set(ring.channels) == set(channels_of(role))
        assert set(ring.passwords) == {role}


def test_a_roles_passphrase_opens_no_other_key_file(made: Path) -> None:
    passphrase = (made / "role-log" / "passphrase").read_text().strip()
    with pytest.raises(KeyringError):
        load(made / "role-action" / "action.keys", passphrase)
    with pytest.raises(KeyringError):
        load(made / volumes.VAULT / "master.keys", passphrase)


def test_the_master_stands_in_the_vault_alone(made: Path) -> None:
    found = [path for path in contents(made) if "master" in path or "secrets.json" in path or "containers.json" in path]
    assert {Path(path).parts[0] for path in found} == {volumes.VAULT}


@pytest.mark.parametrize("client", volumes.CLIENTS)
def test_a_platform_token_is_known_to_its_client_and_to_the_proxy_only(made: Path, client: str) -> None:
    token = (made / volumes.TOKENS / f"{client}.token").read_bytes().strip()
    holders = {Path(path).parts[0] for path, data in contents(made).items() if token in data}
    assert len(token) >= 32
    assert holders == {volumes.VAULT, volumes.TOKENS, volumes.role_volume(client)}


def test_the_dashboards_token_is_the_operators_and_stays_the_same(made: Path) -> None:
    token = (made / volumes.OPERATOR / "dashboard.token").read_bytes().strip()
    assert len(token) >= 16
    assert {Path(path).parts[0] for path, data in contents(made).items() if token in data} == {
        volumes.VAULT,
        volumes.OPERATOR,
    }
    assert (made / volumes.OPERATOR / "dashboard.token").stat().st_mode & 0o777 == 0o600
    assert open_stack(made).containers.dashboard_token.encode() == token


def test_a_vault_from_before_the_dashboard_gets_its_token(made: Path, tmp_path: Path) -> None:
    older = Path(shutil.copytree(made, tmp_path / "older"))
    vault = older / volumes.VAULT / "containers.json"
    known = json.loads(vault.read_bytes())
    tokens = known["tokens"]
    del known["dashboard_token"]
    vault.write_text(json.dumps(known))
    again = open_stack(older).containers
    assert len(again.dashboard_token) >= 16
    assert again.tokens == tokens
    assert open_stack(older).containers == again


@pytest.mark.parametrize(
    ("password", "holders"),
    [
        ("audit_admin_password", {volumes.AUDIT_DB, volumes.PREPARE}),
        ("audit_db_password", {volumes.PREPARE, "role-auditor"}),
        ("audit_operator_password", {volumes.PREPARE, volumes.OPERATOR}),
        ("runbooks_db_password", {volumes.PREPARE, volumes.role_volume("runbook")}),
        ("shop_admin_password", {volumes.SHOP_DB, volumes.SHOP_PREPARE}),
        ("orders_db_password", {volumes.SHOP_PREPARE, "shop-orders-secret"}),
        ("catalog_db_password", {volumes.SHOP_PREPARE, "shop-catalog-secret"}),
    ],
)
def test_a_database_password_is_known_where_it_is_used_only(made: Path, password: str, holders: set[str]) -> None:
    secret = json.loads((made / volumes.VAULT / "secrets.json").read_bytes())[password].encode()
    assert {Path(path).parts[0] for path, data in contents(made).items() if secret in data} == {*holders, volumes.VAULT}


def test_a_broker_password_stands_in_the_brokers_configuration_only(made: Path) -> None:
    stack = open_stack(made)
    master = load(stack.master_file, stack.containers.master_passphrase)
    for role in volumes.RUNNING:
        password = master.broker_password(role).encode()
        # The role's own copy is sealed in its key file.
        assert {Path(path).parts[0] for path, data in contents(made).items() if password in data} == {volumes.NATS}


def test_servers_listen_to_other_containers_and_keep_their_data_in_their_volume(made: Path) -> None:
    for volume in (volumes.NATS, volumes.QUEUE):
        text = (made / volume / "nats.conf").read_text()
        assert re.search(r'^host: "0\.0\.0\.0"$', text, re.MULTILINE)
        assert re.search(r'^http: "0\.0\.0\.0:8222"$', text, re.MULTILINE)
        assert '"/var/lib/nats"' in text


def test_a_second_run_changes_nothing(made: Path) -> None:
    before = contents(made)
    asyncio.run(set_up(made))
    assert contents(made) == before


def test_what_was_lost_comes_back_with_the_same_secrets(made: Path, tmp_path: Path) -> None:
    root = tmp_path / "volumes"
    shutil.copytree(made, root, symlinks=True)
    for path in ("role-log/platform.token", "role-log/log.keys", "shop-orders-secret/db.password"):
        (root / path).unlink()
    (root / "role-log/passphrase").chmod(0o644)
    asyncio.run(set_up(root))
    again, before = contents(root), contents(made)
    changed = {path for path in before if again[path] != before[path]}
    assert changed <= {"role-log/log.keys"}  # sealed anew with a new nonce; it opens to the same keys
    assert (root / "role-log/passphrase").stat().st_mode & 0o777 == 0o600


def test_a_vault_of_before_gets_what_is_new_and_keeps_the_rest(made: Path, tmp_path: Path) -> None:
    root = tmp_path / "volumes"
    shutil.copytree(made, root, symlinks=True)
    vault = {name: root / volumes.VAULT / name for name in ("containers.json", "secrets.json")}
    old = {name: json.loads(path.read_bytes()) for name, path in vault.items()}
    del old["containers.json"]["passphrases"]["runbook"]
    del old["secrets.json"]["runbooks_db_password"]
    for name, path in vault.items():
        path.write_text(json.dumps(old[name]))
    for path in (root / volumes.role_volume("runbook")).iterdir():
        path.unlink()
    asyncio.run(set_up(root))
    now = {name: json.loads(path.read_bytes()) for name, path in vault.items()}
    assert now["containers.json"]["passphrases"].items() > old["containers.json"]["passphrases"].items()
    assert now["secrets.json"].items() > old["secrets.json"].items()
    passphrase = (root / "role-runbook/passphrase").read_text().strip()
    assert load(root / "role-runbook/runbook.keys", passphrase).owner == "runbook"
    assert now["secrets.json"]["runbooks_db_password"] in (root / "role-runbook/runbooks.dsn").read_text()


def test_rotation_gives_every_role_a_new_version_and_keeps_the_old(made: Path, tmp_path: Path) -> None:
    root = tmp_path / "volumes"
    shutil.copytree(made, root, symlinks=True)
    assert asyncio.run(begin_rotation(root)) == 2
    assert {load(file.path, file.passphrase).current for file in open_stack(root).role_files} == {1}
    assert asyncio.run(finish_rotation(root)) == 2
    for file in open_stack(root).role_files:
        ring = load(file.path, file.passphrase)
        assert ring.current == 2
        assert ring.versions == (1, 2)
        assert ring.passwords == load(made / file.path.relative_to(root), file.passphrase).passwords
    unchanged = {path: data for path, data in contents(made).items() if not path.endswith(".keys")}
    assert {path: data for path, data in contents(root).items() if not path.endswith(".keys")} == unchanged


def test_volumes_of_a_version_without_the_operators_login_get_one_and_the_auditor_a_new_password(
    made: Path, tmp_path: Path
) -> None:
    root = tmp_path / "volumes"
    shutil.copytree(made, root, symlinks=True)
    secrets = json.loads((root / volumes.VAULT / "secrets.json").read_bytes())
    known = secrets["audit_db_password"]  # then the operator's as well
    del secrets["audit_operator_password"]
    (root / volumes.VAULT / "secrets.json").write_text(json.dumps(secrets))
    for volume in (volumes.OPERATOR, "role-auditor"):
        (root / volume / "audit.dsn").write_text(f"postgresql://auditor:{known}@audit-db:5432/auditor\n")
    asyncio.run(set_up(root))
    drawn = json.loads((root / volumes.VAULT / "secrets.json").read_bytes())
    assert (
        (root / volumes.OPERATOR / "audit.dsn")
        .read_text()
        .startswith(f"postgresql://operator:{drawn['audit_operator_password']}@")
    )
    assert not [path for path, data in contents(root).items() if known.encode() in data]
    assert {name for name in secrets if drawn[name] != secrets[name]} == {"audit_db_password"}


class TestTwoAtOnce:
    @pytest.fixture
    def root(self, made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        """Volumes that `main` works on."""
        root = tmp_path / "volumes"
        shutil.copytree(made, root, symlinks=True)
        monkeypatch.setattr(volumes, "ROOT", str(root))
        return root

    @pytest.mark.usefixtures("root")
    def test_one_waits_for_the_other(self, monkeypatch: pytest.MonkeyPatch) -> None:
        at_work: list[Path] = []
        most = []

        async def verb(where: Path) -> None:
            at_work.append(where)
            await asyncio.sleep(0.1)
            most.append(len(at_work))
            at_work.remove(where)

        monkeypatch.setattr(setup, "VERBS", {("begin-rotation",): verb, (): verb})
        with ThreadPoolExecutor(3) as pool:
            assert list(pool.map(main, ([], ["begin-rotation"], ["begin-rotation"]))) == [0, 0, 0]
        assert most == [1, 1, 1]

    def test_every_role_gets_the_keys_of_one_master(self, root: Path) -> None:
        with ThreadPoolExecutor(2) as pool:
            assert list(pool.map(main, (["begin-rotation"], ["begin-rotation"]))) == [0, 0]
        stack = open_stack(root)
        master = load(stack.master_file, stack.containers.master_passphrase)
        assert (master.current, master.versions) == (1, (1, 2))
        for file in stack.role_files:
            assert load(file.path, file.passphrase) == master.restricted_to(file.role)

    @pytest.mark.parametrize("verb", ["", "begin-rotation", "begin-rotation --force", "finish-rotation"])
    def test_one_that_does_not_end_is_not_waited_for_for_ever(
        self, root: Path, verb: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.setattr(setup, "LOCK_TIMEOUT_S", 0.05)
        held = os.open(root / volumes.VAULT / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            assert try_lock(held)
            before = contents(root)
            assert main(verb.split()) == 4
            assert "is going up, or its keys are being rotated" in capsys.readouterr().err
            assert contents(root) == before
        finally:
            os.close(held)

    def test_volumes_that_are_not_mounted_are_named_all_the_same(
        self, root: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        shutil.rmtree(root / volumes.VAULT)
        assert main([]) == 1
        assert "no volume is mounted at" in capsys.readouterr().err


def test_a_volume_that_is_not_mounted_is_named(tmp_path: Path) -> None:
    root = tmp_path / "volumes"
    volumes.make_folders(root)
    (root / "prepare").rmdir()
    with pytest.raises(HomeError, match=r"no volume is mounted at .*/prepare"):
        asyncio.run(set_up(root))


def test_a_damaged_vault_is_a_sentence_and_not_drawn_anew(made: Path, tmp_path: Path) -> None:
    root = tmp_path / "volumes"
    shutil.copytree(made, root, symlinks=True)
    (root / volumes.VAULT / "containers.json").write_text("{")
    with pytest.raises(HomeError, match="docker compose down -v"):
        asyncio.run(set_up(root))
    assert (root / volumes.VAULT / "containers.json").read_text() == "{"


def test_an_unknown_verb_is_bad_use(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["rotate"]) == 2
    assert "begin-rotation" in capsys.readouterr().err


def test_a_cluster_has_a_configuration_for_each_node_and_they_know_each_other(made: Path, tmp_path: Path) -> None:
    root = tmp_path / "volumes"
    shutil.copytree(made, root, symlinks=True)
    asyncio.run(set_up(root, nodes=3))
    texts = {node: (root / volumes.NATS / f"{node}.conf").read_text() for node in CLUSTER}
    secret = open_stack(root).containers.cluster_password
    for node, text in texts.items():
        assert f'server_name: "{node}"' in text
        assert all(f"nats-route://node:{secret}@{other}:6222" in text for other in CLUSTER)
    assert "cluster" not in (made / volumes.NATS / "nats.conf").read_text()


def test_a_broker_has_one_node_or_three() -> None:
    assert nodes_wanted({}) == nodes_wanted({"TRIAGE_NATS_NODES": ""}) == 1
    assert nodes_wanted({"TRIAGE_NATS_NODES": "3"}) == 3
    with pytest.raises(HomeError, match="TRIAGE_NATS_NODES is '2'"):
        nodes_wanted({"TRIAGE_NATS_NODES": "2"})
