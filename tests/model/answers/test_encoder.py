"""An encoder's files give the vectors of the published model, and a changed byte is noticed."""

import json

import numpy as np
import onnxruntime
import pytest
import torch
from transformers import BertModel

from tinsmith.knowledge.encoders import encoders_for
from tinsmith.model.answers.encoder import Encoder
from tinsmith.model.answers.encoder_file import EncoderWeights, read_encoder, write_encoder
from tinsmith.model.answers.prune import prune
from tinsmith.model.answers.q4 import int8_levels, pack_rows, row_bytes, unpack_rows
from tiny import PARAGRAPH
from tiny_encoder import build_tiny_encoder

SENTENCES = [sentence.strip() for sentence in PARAGRAPH.split(".") if sentence.strip()]


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    """Folder of a tiny encoder."""
    return build_tiny_encoder(tmp_path_factory.mktemp("published"))


@pytest.fixture(scope="module")
def packed(published, tmp_path_factory):
    """Folder with its files as a page gets them, with the whole vocabulary."""
    folder = tmp_path_factory.mktemp("packed")
    (source,) = encoders_for(str(published))
    tokenizer, weights = source.read(source.fetch())
    write_encoder(folder, "own", weights)
    (folder / "own.tokenizer.json").write_text(tokenizer)
    return folder


def vectors_of(published, encoder: Encoder) -> np.ndarray:
    """The published model's vectors, computed by Transformers in float32."""
    model = BertModel.from_pretrained(published, add_pooling_layer=False).eval()
    vectors = []
    for text in SENTENCES:
        with torch.no_grad():
            states = model(torch.tensor([encoder.tokenizer.encode(text).ids])).last_hidden_state
        vectors.append(torch.nn.functional.normalize(states.mean(dim=1), dim=1).numpy()[0])
    return np.stack(vectors)


def test_vectors_are_those_of_the_published_model(published, packed):
    encoder = Encoder(packed, "own")
    expected = vectors_of(published, encoder)
    given = encoder.passages(SENTENCES)
    assert np.allclose(np.linalg.norm(given, axis=1), 1, atol=1e-5)
    cosines = (given * expected).sum(axis=1)
    assert cosines.min() > 0.95
    others = given @ expected.T
    assert (others.argmax(axis=1) == np.arange(len(SENTENCES))).all()
    assert np.median(cosines) > np.median(others[~np.eye(len(SENTENCES), dtype=bool)]) + 0.02


def test_weights_that_are_in_4_bits_already_are_kept(published, packed, tmp_path):
    (source,) = encoders_for(str(published))
    _, weights = source.read(source.fetch())
    rounded = EncoderWeights(
        weights.shape,
        unpack_rows(pack_rows(weights.words)),
        weights.positions,
        {name: unpack_rows(pack_rows(matrix)) for name, matrix in weights.matrices.items()},
        weights.vectors,
    )
    write_encoder(tmp_path, "own", rounded)
    again, once = read_encoder(tmp_path, "own"), read_encoder(packed, "own")
    assert again.data == once.data
    assert np.array_equal(unpack_rows(again.words), unpack_rows(once.words))


def test_a_changed_byte_is_noticed(packed, tmp_path):
    for path in packed.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    layout = json.loads((tmp_path / "own.json").read_text())
    content = bytearray((tmp_path / "own.bin").read_bytes())
    content[layout["matrices"][0]["at"] + 2] ^= 0x40
    (tmp_path / "own.bin").write_bytes(content)
    with pytest.raises(ValueError, match=r"own\.bin: its unpacked weights are not those that were written"):
        read_encoder(tmp_path, "own")


def test_the_graph_alone_has_no_weights(packed):
    assert (packed / "own.onnx").stat().st_size < 20_000
    with pytest.raises(onnxruntime.capi.onnxruntime_pybind11_state.Fail):
        onnxruntime.InferenceSession((packed / "own.onnx").read_bytes())


def test_q4_keeps_what_it_can_say_and_rounds_the_rest_well():
    random = np.random.default_rng(0)
    scales = random.uniform(-0.1, 0.1, (50, 1)).astype(np.float16).astype(np.float32)
    exact = ((random.integers(0, 16, (50, 32)) - 8) * scales).astype(np.float32)
    exact[:, 0] = -8 * scales[:, 0]
    assert np.array_equal(unpack_rows(pack_rows(exact)), exact)
    rows = random.standard_normal((64, 128)).astype(np.float32)
    packed = pack_rows(rows)
    assert packed.shape == (64, row_bytes(128)) == (64, 72)
    error = np.square(unpack_rows(packed) - rows).mean()
    assert error < 0.0095, "the error of a grid with 16 levels, its scale searched"
    assert np.array_equal(unpack_rows(pack_rows(np.zeros((2, 32), np.float32))), np.zeros((2, 32)))


def test_int8_levels_round_halves_up():
    rows = np.array([[127.0, 0.5, -0.5, -127.0], [0, 0, 0, 0]], np.float32)
    levels, scales = int8_levels(rows)
    assert levels.tolist() == [[127, 0], [1, 0], [0, 0], [-127, 0]] and scales.tolist() == [1.0, 1.0]


def test_pruning_changes_ids_but_no_token_of_the_texts(published):
    from tokenizers import Tokenizer

    text = (published / "tokenizer.json").read_text()
    whole = Tokenizer.from_str(text)
    kept_texts = SENTENCES[:2]
    pruned, old_ids = prune(text, kept_texts, iter(range(whole.get_vocab_size())), 0)
    small = Tokenizer.from_str(pruned)
    assert small.get_vocab_size() == len(old_ids) < whole.get_vocab_size()
    for sentence in kept_texts:
        before, after = whole.encode(sentence), small.encode(sentence)
        assert after.tokens == before.tokens
        assert [int(old_ids[id]) for id in after.ids] == before.ids
    assert "[UNK]" not in small.encode("tea").tokens, "letters spell what is left out"
    filled, _ = prune(text, kept_texts, iter(range(whole.get_vocab_size())), 10_000)
    assert Tokenizer.from_str(filled).get_vocab() == whole.get_vocab()
