"""Organisations, their channels, and what these get."""

from datetime import datetime
from typing import Any

import click

from bot import admin, app, commands, joining
from bot.admin import Actor
from bot.cli import root
from bot.cli.root import Shell, as_json, main
from bot.commands import Answer
from bot.domain import access as rules
from bot.domain import channel as channels
from bot.domain import times
from bot.domain.access import Capability, OrganisationState
from bot.joining import JoinCode
from bot.store import access, directory
from bot.store.database import Tables


@main.group()
def org() -> None:
    """Organisations."""


@org.command("add")
@click.argument("name")
@click.option("--sector", required=True, help="Its place in the sector tree, such as finance/bank.")
@click.option("--purpose", default="", help="What it says it wants alerts for.")
@click.option("--parent", default="", help="The organisation that it belongs to, as it says.")
@click.option("--domain", default="", help="Where its people's e-mail comes from.")
@as_json
@click.pass_obj
def org_add(shell: Shell, /, name: str, sector: str, as_json: bool, **known: str) -> None:
    """A new organisation, with a code for its first workspace; it may receive nothing until it has a grant."""

    def add(db: Tables, actor: Actor, at: datetime) -> tuple[rules.Organisation, JoinCode]:
        made = admin.add_organisation(db, actor, at, name, sector, **known)
        return made, joining.make_code(db, actor, at, made.org)

    made, code = shell.act("org-add", name, add)
    text = f"organisation {made.name} is {made.org}; `tocsin grant --org {made.org} --provider P` lets it receive"
    root.show(Answer(text=f"{text}\n{_told_code(code)}", data=_org(made) | _code(code)), as_json)


@org.command("code")
@click.argument("org")
@as_json
@click.pass_obj
def org_code(shell: Shell, org: str, as_json: bool) -> None:
    """A code with which one more workspace joins an organisation."""
    made = shell.act("join-code", org, lambda db, actor, at: joining.make_code(db, actor, at, org))
    root.show(Answer(text=_told_code(made), data=_code(made)), as_json)


@org.command("list")
@as_json
@click.pass_obj
def org_list(shell: Shell, as_json: bool) -> None:
    """All of them."""
    found = [_org(each) for each in shell.read(directory.organisations)]
    root.show(root.table(found, ["org", "name", "sector", "state"]), as_json)


@org.command("show")
@click.argument("org")
@as_json
@click.pass_obj
def org_show(shell: Shell, org: str, as_json: bool) -> None:
    """One, with its channels and what it may receive."""

    def read(db: Tables) -> dict[str, Any]:
        found = directory.organisation(db, org)
        policy = access.policy(db)
        channels_of = [each["channel"] for each in directory.channels(db, found.org)]
        return _org(found) | {
            "channels": channels_of,
            "providers": {
                capability.value: rules.permitted(policy, found, app.now(), capability).key for capability in Capability
            },
        }

    found = shell.read(read)
    root.show(Answer(text="\n".join(f"{key}: {value}" for key, value in found.items()), data=found), as_json)


@org.command("suspend")
@click.argument("org")
@as_json
@click.pass_obj
def org_suspend(shell: Shell, org: str, as_json: bool) -> None:
    """Nothing more, until it is resumed."""
    _set_state(shell, org, OrganisationState.SUSPENDED, as_json)


@org.command("resume")
@click.argument("org")
@as_json
@click.pass_obj
def org_resume(shell: Shell, org: str, as_json: bool) -> None:
    """What is new from now on; nothing of the time between."""
    _set_state(shell, org, OrganisationState.ACTIVE, as_json)


@main.group()
def channel() -> None:
    """Channels."""


@channel.command("add")
@click.argument("org")
@click.argument("channel")
@as_json
@click.pass_obj
def channel_add(shell: Shell, org: str, channel: str, as_json: bool) -> None:
    """Bind a channel, and with it its workspace, to an organisation."""
    parsed = channels.parse(channel)
    owner = shell.act("channel-add", channel, lambda db, actor, at: admin.add_channel(db, actor, at, org, parsed))
    data = {"channel": channel, "org": owner.org, "platform": parsed.platform, "workspace": parsed.workspace}
    root.show(Answer(text=f"channel {channel} is {owner.name}'s", data=data), as_json)


@channel.command("list")
@as_json
@click.pass_obj
def channel_list(shell: Shell, as_json: bool) -> None:
    """All of them, with what is wrong where something is."""
    root.show(root.table(shell.read(directory.channels), ["channel", "org", "lost"]), as_json)


@channel.command("remove")
@click.argument("channel")
@as_json
@click.pass_obj
def channel_remove(shell: Shell, channel: str, as_json: bool) -> None:
    """Forget it, with its subscriptions."""
    parsed = channels.parse(channel)
    shell.act("channel-remove", channel, lambda db, actor, at: admin.remove_channel(db, actor, at, parsed))
    root.show(Answer(text=f"channel {channel} is removed", data={"channel": channel}), as_json)


@main.command()
@click.argument("channel")
@commands.subscription_options
@as_json
@click.pass_obj
def subscribe(shell: Shell, /, channel: str, as_json: bool, **values: Any) -> None:
    """What a channel gets; without --category, all of them."""
    parsed = channels.parse(channel)
    root.show(shell.run(lambda context: commands.subscribe(context, parsed, values)), as_json)


@main.command()
@click.argument("channel")
@click.argument("subscription", required=False)
@as_json
@click.pass_obj
def unsubscribe(shell: Shell, channel: str, subscription: str | None, as_json: bool) -> None:
    """Remove one subscription of a channel, or all."""
    parsed = channels.parse(channel)
    root.show(shell.run(lambda context: commands.unsubscribe(context, parsed, subscription)), as_json)


@main.command()
@as_json
@click.pass_obj
def subscriptions(shell: Shell, as_json: bool) -> None:
    """What every channel gets."""
    found = [
        {"subscription": each.subscription, "channel": each.channel, "describe": each.describe()}
        for each in shell.read(directory.subscriptions)
    ]
    root.show(root.table(found, ["subscription", "channel", "describe"]), as_json)


def _set_state(shell: Shell, name: str, state: OrganisationState, as_json: bool) -> None:
    changed = shell.act(
        f"org-{state.value}", name, lambda db, actor, at: admin.set_organisation_state(db, actor, at, name, state)
    )
    root.show(Answer(text=f"organisation {changed.name} is {state.value}", data=_org(changed)), as_json)


def _org(found: rules.Organisation) -> dict[str, Any]:
    return {
        "org": found.org,
        "name": found.name,
        "sector": found.sector,
        "state": found.state.value,
        "purpose": found.purpose,
    }


def _code(made: JoinCode) -> dict[str, Any]:
    return {"join_code": made.code, "expires_at": times.to_text(made.expires_at)}


def _told_code(made: JoinCode) -> str:
    return (
        f"join code {made.code}: an admin of the Slack workspace or Discord server types `/tocsin join {made.code}`, "
        f"once, until {times.to_text(made.expires_at)}; it is not shown again"
    )
