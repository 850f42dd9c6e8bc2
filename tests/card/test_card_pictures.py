"""What the card's pictures show: bars, lines, dots and labels of the measured numbers."""

from contextlib import contextmanager
from dataclasses import replace

import pytest
from matplotlib.colors import to_hex

from fake_run import STAMPED, write_run
from tinsmith.card import pictures
from tinsmith.card.evidence import read_evidence
from tinsmith.card.facts import Facts
from tinsmith.card.pictures import drawings, loss_text
from tinsmith.core.config import AnswersConfig, CardConfig
from tinsmith.core.pictures import BLUE, GREY, ORANGE, Picture
from tinsmith.core.run_dir import read_json, write_json


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return write_run(tmp_path_factory.mktemp("pictures") / "tea-bot", STAMPED[: STAMPED.index("review")])


@pytest.fixture
def facts(run):
    return Facts(read_evidence(run), CardConfig())


@pytest.fixture
def figure_of(monkeypatch):
    """The axes and the figure that a drawing leaves, without the time to write it as PNG.

    A picture that was drawn before is drawn again.
    """
    drawn = []

    @contextmanager
    def keep(height_inches):
        with real(height_inches) as picture:
            drawn.append(picture)
            yield picture

    real = pictures.new_picture
    monkeypatch.setattr(pictures, "new_picture", keep)
    monkeypatch.setattr(Picture, "png", lambda picture: b"PNG")

    def forget():
        for cached in (pictures._bars_png, pictures._points_png, pictures._sizes_png):
            cached.cache_clear()

    def draw(png):
        forget()
        assert png() == b"PNG"
        return drawn[-1].axes, drawn[-1].figure

    yield draw
    forget()


def rows_of(bars):
    """Start and width of each bar, and the colours they have."""
    assert {round(patch.get_height(), 9) for patch in bars} <= {0.6, 0.7}
    places = [(round(patch.get_x(), 6), round(patch.get_width(), 6)) for patch in bars]
    return places, {to_hex(patch.get_facecolor()) for patch in bars}


def texts_of(axes):
    return [(text.get_text(), *(round(at, 6) for at in text.get_position())) for text in axes.texts]


def names_of(axes):
    return [label.get_text().replace("\n", " ") for label in axes.get_yticklabels()]


def test_a_picture_that_has_no_numbers_is_not_drawn(tmp_path, facts):
    assert list(drawings(facts)) == ["answers.png", "perplexity.png", "speed.png", "size.png"]
    assert drawings(Facts(read_evidence(write_run(tmp_path / "tea-bot", ("base",))), CardConfig())) == {}


def test_answers_are_bars_that_add_up_to_all_questions(facts, figure_of):
    axes, figure = figure_of(drawings(facts)["answers.png"].png)
    sixth = round(100 / 6, 6)
    expected = {
        "right": ([(0, 65), (0, 0), (0, 0), (0, sixth)], BLUE),
        "wrong": ([(65, 15), (0, 20), (0, 0), (sixth, 0)], ORANGE),
        "not answered": ([(80, 20), (20, 80), (0, 100), (sixth, 0)], "#cfcac1"),
        "not right": ([(100, 0), (100, 0), (100, 0), (sixth, round(500 / 6, 6))], "#f0b48f"),
    }
    drawn = {bars.get_label(): rows_of(bars) for bars in axes.containers}
    assert list(drawn) == list(expected)
    for label, (places, colour) in expected.items():
        assert drawn[label][0] == [pytest.approx(place) for place in places], label
        assert drawn[label][1] == {colour}
    assert texts_of(axes) == [
        ("65 %", 32.5, 0),
        ("17 %", pytest.approx(sixth / 2), 3),
        ("15 %", 72.5, 0),
        ("20 %", 10, 1),
        ("20 %", 90, 0),
        ("80 %", 60, 1),
        ("100 %", 50, 2),
        ("83 %", pytest.approx(sixth + 250 / 6), 3),
    ]
    assert {text.get_color() for text in axes.texts[:4]} == {"white"}
    assert {text.get_color() for text in axes.texts[4:]} == {"black"}
    assert names_of(axes) == [
        "Known questions",
        "On its subject, but no text answers",
        "Something else",
        "Known questions, model alone",
    ]
    assert max(len(line) for label in axes.get_yticklabels() for line in label.get_text().split("\n")) <= 22
    assert axes.yaxis_inverted() and axes.get_xlim() == (0, 100)
    assert axes.get_xlabel() == "of the questions asked (%)"
    assert [text.get_text() for text in figure.legends[0].get_texts()] == list(expected)
    assert figure.get_size_inches()[1] == pytest.approx(1.1 + 0.62 * 4)


def test_a_narrow_bar_has_no_sign_and_a_narrower_one_no_label(figure_of):
    bars = (pictures._Bar("a", right=0.79, wrong=0.14, unanswered=0.07), pictures._Bar("b", right=0.9401, wrong=0.0599))
    axes, _ = figure_of(lambda: pictures._bars_png(bars, "left to the model"))
    assert [text for text, *_ in texts_of(axes)] == ["79 %", "94 %", "14 %", "7"]
    assert [bars.get_label() for bars in axes.containers] == ["right", "wrong", "left to the model"]


def test_where_the_model_answers_the_rest_the_words_say_so(run, facts):
    text = drawings(facts)["answers.png"].text
    assert text == (
        "Questions by what came of them: known questions 65 % right, 15 % wrong, 20 % not answered; on its subject, "
        "but no text answers 80 % not answered, the others wrong; something else 100 % not answered; "
        "known questions to the model alone 16.7 % right, the others not"
    )
    settings = run.stage("knowledge") / "answers/answers.json"
    before = read_json(settings)
    write_json(settings, {**before, "fallback": "model"})
    try:
        text = drawings(Facts(read_evidence(run), CardConfig()))["answers.png"].text
    finally:
        write_json(settings, before)
    assert text.count("left to the model") == 3 and "not answered" not in text


def test_where_no_passages_are_shown_only_the_model_alone_has_a_bar(facts, figure_of):
    config = facts.evidence.config.model_copy(update={"answers": AnswersConfig(publish=False)})
    drawing = drawings(Facts(replace(facts.evidence, config=config), CardConfig()))["answers.png"]
    assert (
        drawing.text
        == "Questions by what came of them: known questions to the model alone 16.7 % right, the others not"
    )
    axes, _ = figure_of(drawing.png)
    assert names_of(axes) == ["Known questions, model alone"]


def test_perplexities_are_bars_with_their_intervals(facts, figure_of):
    drawing = drawings(facts)["perplexity.png"]
    measured = [facts.evidence.measurements[f"evaluate.perplexity.test.{model}"] for model in ("base", "tuned", "int4")]
    axes, figure = figure_of(drawing.png)
    places, colours = rows_of(axes.containers[0])
    assert places == [(0, pytest.approx(m.value)) for m in measured] and colours == {BLUE}
    assert [line.get_xdata() for line in axes.lines] == [
        pytest.approx([m.spread["ci95_low"], m.spread["ci95_high"]]) for m in measured
    ]
    assert [list(line.get_ydata()) for line in axes.lines] == [[row, row] for row in range(3)]
    gap = 0.02 * measured[0].value
    printed = [facts.value(m.id) for m in measured]
    assert texts_of(axes) == [
        (text, pytest.approx(m.spread["ci95_high"] + gap, abs=1e-5), row)
        for row, (text, m) in enumerate(zip(printed, measured, strict=True))
    ]
    assert names_of(axes) == ["Base", "Fine-tuned", "INT4, in the browser"]
    assert axes.get_xlabel() == "perplexity (lower is better)"
    assert axes.yaxis_inverted() and axes.get_xlim()[0] == 0 and axes.get_xlim()[1] > measured[0].spread["ci95_high"]
    assert figure.get_size_inches()[1] == pytest.approx(0.9 + 0.55 * 3)
    assert drawing.text.startswith("Perplexity of the test text, lower is better: Base ")


def test_speeds_are_bars_with_their_ranges_and_without_units(facts, figure_of):
    drawing = drawings(facts)["speed.png"]
    axes, _ = figure_of(drawing.png)
    measured = [facts.evidence.measurements[f"{id}.decode_tokens_per_second"] for id in ("bench.wasm", "remote.1.wasm")]
    assert [line.get_xdata() for line in axes.lines] == [
        pytest.approx([m.spread["min"], m.spread["max"]]) for m in measured
    ]
    assert [text for text, *_ in texts_of(axes)] == ["8.77", "21.5"]
    assert axes.get_xlabel() == "tokens per second"
    assert drawing.text == (
        "Speed by device: Testor 9000, WASM 8.77 tokens/s (7.50 to 9.25); "
        "Pixel \\| \\*9\\*, WASM 21.5 tokens/s (20.5 to 22.3)"
    )
    del facts.evidence.measurements[measured[1].id]
    assert "speed.png" not in drawings(facts), "one speed is not compared"


def test_a_number_without_interval_has_no_line(figure_of):
    points = (pictures._Point("a", 2.0, 2.0, 2.0, "2"), pictures._Point("b", 1.0, 0.5, 1.5, "1"))
    axes, _ = figure_of(lambda: pictures._points_png(points, "x"))
    assert [list(line.get_xdata()) for line in axes.lines] == [[0.5, 1.5]]
    assert texts_of(axes) == [("2", 2.04, 0), ("1", 1.54, 1)]


def test_recipes_are_dots_of_size_and_added_perplexity(facts, figure_of):
    drawing = drawings(facts)["size.png"]
    axes, figure = figure_of(drawing.png)
    ratios = [facts.evidence.measurements[f"export.recipe.{name}.perplexity_ratio"] for name in ("rtn", "gptq")]
    (_, rtn, _, gptq) = axes.lines
    for dot, m in zip((rtn, gptq), ratios, strict=True):
        assert (list(dot.get_xdata()), list(dot.get_ydata())) == ([84.0], [pytest.approx(100 * (m.value - 1))])
    for line, m in zip(axes.lines[::2], ratios, strict=True):
        ends = (m.spread["ci95_low"], m.spread["ci95_high"])
        assert list(line.get_ydata()) == [pytest.approx(100 * (end - 1)) for end in ends]
        assert list(line.get_xdata()) == [84.0, 84.0]
    assert [dot.get_color() for dot in (rtn, gptq)] == [GREY, ORANGE]
    assert [text.get_text().replace("\n", " ") for text in axes.texts] == [
        "rounded to nearest",
        "GPTQ-calibrated (ships)",
    ]
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("size of the matrices (MB)", "added perplexity (%)")
    assert figure.get_size_inches()[1] == 3.2
    assert drawing.text.startswith(
        "Size and quality of the INT4 recipes tried, the last of which ships. rounded to nearest: 84 MB, "
    )
    del facts.evidence.measurements[ratios[0].id]
    assert "size.png" not in drawings(facts), "one recipe is not compared"


def test_names_stand_inside_the_picture_on_the_side_with_room(figure_of):
    points = tuple((size, pictures._Point(f"{size}", 1.1, 1.0, 1.2, "")) for size in (10.0, 20.0, 30.0))
    axes, _ = figure_of(lambda: pictures._sizes_png(points))
    assert [(text.get_ha(), text.xyann) for text in axes.texts] == [
        ("left", (12, 0)),
        ("left", (12, 0)),
        ("right", (-12, 0)),
    ]


def test_the_loss_curve_in_words_gives_the_validation_loss_of_every_epoch(facts, run, tmp_path):
    assert loss_text(facts) == (
        "Training and validation loss by step; validation loss 4.00 after epoch 0, 2.50 after epoch 1, "
        "2.00 after epoch 2, 2.25 after epoch 3"
    )
    assert loss_text(Facts(read_evidence(write_run(tmp_path / "tea-bot", ("base",))), CardConfig())) == ""
