"""Which schedulers suit which kind of model."""

from __future__ import annotations

import pytest

from pressrun.errors import InvalidJob
from pressrun.models.schedulers import check_scheduler, schedulers_for
from pressrun.request import SCHEDULERS


def test_every_scheduler_suits_some_model_and_default_suits_all() -> None:
    assert set(schedulers_for(True)) | set(schedulers_for(False)) == set(SCHEDULERS)
    assert "default" in schedulers_for(True)
    assert "default" in schedulers_for(False)
    check_scheduler("default", True)
    with pytest.raises(InvalidJob, match="'ddim' does not suit this flow-matching model"):
        check_scheduler("ddim", True)
