"""One try each of the three things that are sent: the run, an evaluation, how the run ended."""

from __future__ import annotations

from urllib.parse import quote
from uuid import UUID

from truerun import wire
from truerun.answers import EVALUATION, HANDSHAKE, Answer, Fate, fate
from truerun.peers import Peers
from truerun.record import RunRecord
from truerun.transport import REQUEST_SECONDS, Transport


class Courier:
    """Carries one run's things. The run token that the service hands out stays in this object's memory."""

    def __init__(self, transport: Transport, record: RunRecord) -> None:
        self.record = record
        self.run_id: str | None = None
        # Whether the end went with the run's records, which needs no more than a run token.
        self.has_told_end = False
        self._attempt: int | None = None
        self._transport = transport
        self._run_token: str | None = None
        self._introduced_version: int | None = None
        self._peers = Peers(record) if record.is_peer else None

    @property
    def is_introduced(self) -> bool:
        """Whether the service knows the run as it is now."""
        return self.run_id is not None and self._introduced_version == self.record.version

    @property
    def is_early(self) -> bool:
        """Whether all that is missing is the process that opens the run, which may take it some time."""
        return self._peers is not None and self._peers.is_early

    def introduce(self, *, seconds: float = REQUEST_SECONDS) -> tuple[Fate, Answer]:
        """Make the run known, or known anew after a change; the same attempt however often it is sent."""
        record = self.record
        version = record.version
        path = f"/projects/{quote(record.project, safe='')}/runs/{quote(record.run_key, safe='')}"
        # A run token reattaches to its run; the first time there is none yet and the project's token speaks.
        answer = self._transport.send(
            "PUT", path, body=wire.encode(record.handshake()), token=self._run_token, seconds=seconds
        )
        result = fate(answer, HANDSHAKE)
        if self._peers is not None:
            trouble = self._peers.trouble(self._transport, answer, seconds=seconds)
            if trouble is not None:
                return Fate.RETRY, trouble
            version = record.version
        if result is Fate.ACCEPTED and answer.document is not None:
            self.run_id = str(answer.document["run_id"])
            token = answer.document.get("run_token")
            self._run_token = token if isinstance(token, str) else self._run_token
            attempt = answer.document.get("attempt")
            self._attempt = attempt if isinstance(attempt, int) else None
            self._introduced_version = version
        elif answer.status == 401 and self._run_token is not None:
            self._run_token = None
            return self.introduce(seconds=seconds)
        return result, answer

    def deliver(
        self, evaluation: UUID, body: bytes, *, seconds: float = REQUEST_SECONDS
    ) -> tuple[Fate, Answer]:
        """Send one evaluation; the same id with the same body may be sent any number of times."""
        token = self._run_token
        answer = self._put(evaluation, body, token, seconds)
        if answer.status == 401 and token is not None:
            # The run token ran out or was revoked; the project's token fetches a new one.
            self._run_token = None
            result, introduction = self.introduce(seconds=seconds)
            if result is not Fate.ACCEPTED:
                return result, introduction
            answer = self._put(evaluation, body, self._run_token, seconds)
        elif answer.status == 403 and token is not None:
            # A run token appends and creates nothing; a new suite needs the token that the user gave.
            answer = self._put(evaluation, body, None, seconds)
        return fate(answer, EVALUATION), answer

    def post_records(
        self, stream_id: UUID, body: bytes, *, is_packed: bool, seconds: float = REQUEST_SECONDS
    ) -> Answer:
        """Send a batch of records."""
        token = self._run_token
        answer = self._post(stream_id, body, is_packed, token, seconds)
        if answer.status == 401 and token is not None:
            self._run_token = None
            result, introduction = self.introduce(seconds=seconds)
            if result is not Fate.ACCEPTED:
                return introduction
            answer = self._post(stream_id, body, is_packed, self._run_token, seconds)
        return answer

    def _post(
        self, stream_id: UUID, body: bytes, is_packed: bool, token: str | None, seconds: float
    ) -> Answer:
        path = f"/runs/{self.run_id}/streams/{stream_id}/records"
        encoding = "gzip" if is_packed else None
        return self._transport.send("POST", path, body=body, encoding=encoding, token=token, seconds=seconds)

    def report_status(self, *, seconds: float = REQUEST_SECONDS) -> Fate:
        """Tell how the run ended; a token that may not do so leaves it unsaid.

        A run that has gone on in a later attempt has not ended, whatever became of this one.
        """
        if self.record.status is None or self.record.role != "train" or self.has_told_end:
            return Fate.ACCEPTED
        shown = self._transport.send("GET", f"/runs/{self.run_id}", seconds=seconds)
        newest = (shown.document or {}).get("attempt")
        if isinstance(newest, int) and self._attempt is not None and newest > self._attempt:
            return Fate.ACCEPTED
        body = wire.encode({"status": self.record.status})
        answer = self._transport.send("PATCH", f"/runs/{self.run_id}", body=body, seconds=seconds)
        result = fate(answer, HANDSHAKE)
        return Fate.RETRY if result is Fate.RETRY else Fate.ACCEPTED

    def close(self) -> None:
        self._transport.close()

    def _put(self, evaluation: UUID, body: bytes, token: str | None, seconds: float) -> Answer:
        path = f"/runs/{self.run_id}/evaluations/{evaluation}"
        return self._transport.send("PUT", path, body=body, token=token, seconds=seconds)
