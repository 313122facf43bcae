"""Instruments in which entries are refused, because portfolio has found that the broker's books differ from ours."""

from __future__ import annotations

from alphapanda.domain.order import OrderStatus
from panda.risk.v1 import risk_pb2 as risk_messages


def halts(revision: int, **reasons: str) -> risk_messages.SetInstrumentHaltsRequest:
    """All halts of the account; INFY is NSE:INFY."""
    return risk_messages.SetInstrumentHaltsRequest(
        revision=revision,
        broker="paper",
        account="default",
        halts=[
            risk_messages.InstrumentHalt(instrument_id=f"NSE:{name}", reason=reason)
            for name, reason in reasons.items()
        ],
    )


async def test_entries_are_refused_and_exits_pass_until_it_is_lifted(risk, api) -> None:
    """From the next decision on, with the reason that portfolio gave; what was decided before stands."""
    await risk.raw(risk.signal(10))
    [order] = await risk.validated()
    await risk.told(order, 10, OrderStatus.FILLED, 2)
    answer = await api.SetInstrumentHalts(halts(1, INFY="we have 10, the broker 7"), None)
    assert [one.instrument_id for one in answer.halts] == ["NSE:INFY"]
    more = risk.signal(20)
    await risk.raw(more)
    assert await risk.rejected() == [(more.signal_id, "KILL_SWITCH")]
    asked = risk_messages.GetVerdictRequest(signal_id=more.signal_id)
    assert "we have 10, the broker 7" in (await api.GetVerdict(asked, None)).verdict.message
    await risk.raw(risk.signal(0))
    leaving = (await risk.validated())[-1]
    assert leaving.quantity == 10
    await risk.told(leaving, 10, OrderStatus.FILLED, 2)
    await api.SetInstrumentHalts(halts(2), None)
    await risk.raw(risk.signal(5))
    assert len(await risk.validated()) == 3


async def test_an_older_reconciliation_changes_nothing(risk, api) -> None:
    """A call that comes late, or twice, doesn't undo a newer one."""
    await api.SetInstrumentHalts(halts(5, INFY="differs"), None)
    answer = await api.SetInstrumentHalts(halts(4), None)
    assert (answer.revision, len(answer.halts)) == (5, 1)
    answer = await api.SetInstrumentHalts(halts(5, INFY="differs", TCS="differs, too"), None)
    assert len(answer.halts) == 1
    answer = await api.SetInstrumentHalts(halts(6, TCS="differs, too"), None)
    assert [one.instrument_id for one in answer.halts] == ["NSE:TCS"]
    await risk.raw(risk.signal(5))
    assert len(await risk.validated()) == 1
