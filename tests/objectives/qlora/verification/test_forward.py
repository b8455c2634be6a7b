import pytest
import torch

from loratory.objectives.qlora.base.loading import load_base
from loratory.objectives.qlora.base.reference import resolve_base
from loratory.objectives.qlora.verification.batches import collate
from loratory.objectives.qlora.verification.forward import answer_losses


@pytest.mark.parametrize("kind", ["llama", "gemma2"])
def test_answer_losses_are_those_of_the_whole_logits(make_study, base_folder, data, kind):
    changes = {"head_dim": 16} if kind == "gemma2" else {}
    model = make_study(model={"base": str(base_folder(kind, **changes))}).model
    base, examples = load_base(model, resolve_base(model)), data.train[:5]
    batch = collate(examples, padding_id=base.padding_id, device=base.device)
    theirs = []
    with torch.no_grad():
        mine = answer_losses(base, batch)
        for example in examples:
            ids = torch.tensor([[*example.prompt_ids, *example.answer_ids]], device=base.device)
            logits = base.model(input_ids=ids).logits[0, :-1].float()
            every = torch.nn.functional.cross_entropy(logits, ids[0, 1:], reduction="none")
            theirs.append(every[len(example.prompt_ids) - 1 :])
    torch.testing.assert_close(mine, torch.cat(theirs), rtol=1e-4, atol=1e-5)
