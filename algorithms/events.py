"""TensorBoard's event files, written without TensorBoard's own writer.

That one writes in a thread of its own, whose errors come late or only as a traceback; here they are raised where a row
is written. The file holds TFRecords of Event messages (https://www.tensorflow.org/tutorials/load_data/tfrecord).
"""

from __future__ import annotations

import io
import os
import socket
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .files import GrowingFile, writing


class EventFile:
    """The scalars of a run: a new file each time that it starts or goes on. Raises WriteError."""

    def __init__(self, folder: Path, update: int) -> None:
        """Open a file in `folder`; the rows after `update` that earlier files hold are no longer shown."""
        from tensorboard.compat.proto.event_pb2 import Event, SessionLog
        from tensorboard.compat.proto.summary_pb2 import Summary
        from tensorboard.summary.writer.record_writer import RecordWriter

        self._event, self._summary, self._records = Event, Summary, RecordWriter
        with writing(folder):
            folder.mkdir(exist_ok=True)
            count = len(list(folder.iterdir()))
        name = f"events.out.tfevents.{int(time.time()):010d}.{socket.gethostname()}.{os.getpid()}.{count}"
        self._file = GrowingFile(folder / name)
        self._append(Event(file_version="brain.Event:2"))
        self._append(Event(step=update + 1, session_log=SessionLog(status=SessionLog.START)))

    def append(self, update: int, numbers: Mapping[str, float]) -> None:
        values = [self._summary.Value(tag=name, simple_value=value) for name, value in numbers.items()]
        self._append(self._event(step=update, summary=self._summary(value=values)))

    def _append(self, event: Any) -> None:
        event.wall_time = time.time()
        record = io.BytesIO()
        self._records(record).write(event.SerializeToString())
        self._file.append(record.getvalue())

    def sync(self) -> None:
        self._file.sync()

    def close(self) -> None:
        self._file.close()
