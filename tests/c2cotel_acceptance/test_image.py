"""Verdicts on pictures, the files that they leave, and what they say."""

import shlex

import pytest
from PIL import Image, ImageDraw

from c2cotel_acceptance.image import check_image, check_image_file
from c2cotel_acceptance.image_reading import read

SIZE = 60, 40


@pytest.fixture
def folder(tmp_path):
    """Where tests would be, with ``it.expected.png``: a blue disc on white."""
    disc().save(tmp_path / "it.expected.png")
    return tmp_path


@pytest.fixture
def check(folder):
    def run(image, **how):
        check_image(folder / "results", image, folder / "it.expected.png", **how)

    return run


def disc(size=SIZE, middle=(30, 20), colour="blue", background="white"):
    """A disc with a smooth edge: drawn eight times as large, then made smaller."""
    large = Image.new("RGB", (size[0] * 8, size[1] * 8), background)
    x, y = middle[0] * 8, middle[1] * 8
    ImageDraw.Draw(large).ellipse((x - 80, y - 80, x + 80, y + 80), fill=colour)
    return large.resize(size, Image.Resampling.BOX)


def with_pixels(image, *places, colour=(0, 0, 0)):
    for place in places:
        image.putpixel(place, colour)
    return image


def results(folder):
    return sorted(path.name for path in folder.glob("results/*"))


def test_the_same_picture_passes_and_leaves_nothing(check, folder):
    check(disc())
    assert results(folder) == []


def test_one_pixel_off_fails_and_says_where_it_is(check, folder):
    with pytest.raises(AssertionError) as caught:
        check(with_pixels(disc(), (5, 7)))
    made = folder / "results"
    copy = shlex.join(["cp", f"{made}/it.actual-masked.png", f"{folder}/it.expected.png"])
    assert str(caught.value) == (
        "it does not look as expected. 1 of 2400 pixels differ (0.042 %), "
        "all within x 5 to 5, y 7 to 7.\n"
        f"  expected: {folder}/it.expected.png\n"
        f"  seen: {made}/it.actual-masked.png\n"
        f"  where: {made}/it.diff.png\n"
        f"If it is right as it is now: {copy}"
    )
    assert results(folder) == ["it.actual-masked.png", "it.diff.png"]
    assert read(made / "it.actual-masked.png").tobytes() == with_pixels(disc(), (5, 7)).tobytes()
    diff = read(made / "it.diff.png")
    assert (diff.size, diff.getpixel((5, 7))) == (SIZE, (255, 0, 0))


def test_the_rectangle_is_around_all_that_differs(check):
    with pytest.raises(AssertionError, match=r"^.* 2 of 2400 .* all within x 2 to 58, y 1 to 39\."):
        check(with_pixels(disc(), (2, 39), (58, 1)))


def test_an_edge_drawn_anew_passes_and_is_told_when_something_else_differs(check):
    # Half a pixel further right: each point of the edge has another shade.
    shifted = disc(middle=(30.4, 20))
    assert shifted.tobytes() != disc().tobytes()
    check(shifted)
    with pytest.raises(AssertionError, match=r" 1 of .*; [1-9]\d* more are smoothed edges and do"):
        check(with_pixels(shifted, (5, 7)))


def test_a_disc_elsewhere_is_not_an_edge(check):
    with pytest.raises(AssertionError, match="pixels differ"):
        check(disc(middle=(33, 20)))


@pytest.mark.parametrize(("grey", "passes"), [(252, True), (248, False)])
def test_a_background_somewhat_darker_fails_and_rounding_does_not(check, grey, passes):
    darker = disc(background=(grey, grey, grey))
    if passes:
        check(darker)
    else:
        with pytest.raises(AssertionError, match="pixels differ"):
            check(darker)
        check(darker, threshold=0.1)


def test_the_level_is_the_share_that_has_to_be_the_same(check):
    off = with_pixels(disc(), *[(x, 0) for x in range(24)])
    check(off, level=0.99)
    with pytest.raises(AssertionError, match=r"24 of 2400 .* Level 0\.991 is needed\."):
        check(off, level=0.991)


@pytest.mark.parametrize(
    ("size", "told"),
    [
        ((60, 50), r"It has 60x50 pixels instead of 60x40\. 600 of 3000 pixels differ \(20 %\)"),
        ((60, 30), r"It has 60x30 pixels instead of 60x40\. 600 of 2400"),
        ((70, 30), r"It has 70x30 pixels instead of 60x40\. 1000 of 2800"),
    ],
)
def test_another_size_fails_at_any_level(check, folder, size, told):
    with pytest.raises(AssertionError, match=told):
        check(disc().crop((0, 0, *size)) if size[1] < 40 else grown(size), level=0)
    assert read(folder / "results/it.actual-masked.png").size == size
    union = max(size[0], 60), max(size[1], 40)
    assert read(folder / "results/it.diff.png").size == union


def grown(size):
    image = Image.new("RGB", size, "white")
    image.paste(disc())
    return image


def test_what_nobody_expected_yet_is_kept_and_fails_once(tmp_path):
    expected = tmp_path / "new folder" / "it.expected.png"
    with pytest.raises(AssertionError) as caught:
        check_image(tmp_path / "results", disc(), expected)
    assert str(caught.value) == (
        "it: nobody has said how it should look. It is now what was seen: look at it, then commit "
        f"it.\n  expected: {expected}\n  seen: {tmp_path}/results/it.actual-masked.png"
    )
    assert read(expected).tobytes() == disc().tobytes()
    check_image(tmp_path / "results", disc(), expected)
    assert results(tmp_path) == []


def test_an_expectation_that_cannot_be_written_is_said_with_the_way_to_do_it(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(AssertionError, match=r"cannot be written \(File exists\): cp .*masked"):
        check_image(tmp_path / "results", disc(), tmp_path / "file" / "it.expected.png")
    assert results(tmp_path) == ["it.actual-masked.png"]


def test_the_files_of_a_failure_are_gone_when_it_passes(check, folder):
    with pytest.raises(AssertionError):
        check(with_pixels(disc(), (5, 7)))
    check(disc())
    assert results(folder) == []


def test_what_the_mask_hides_may_differ_and_nothing_else_may(check, folder):
    mask = Image.new("L", SIZE, "white")
    mask.paste(0, (0, 0, 10, 40))
    mask.save(folder / "it.mask.png")
    hidden = with_pixels(disc(), (9, 39), (0, 0))
    check(hidden)
    with pytest.raises(AssertionError, match=r" 1 of 2000 .* x 10 to 10, y 39 to 39"):
        check(with_pixels(hidden, (10, 39)))
    seen, diff = (read(folder / f"results/it.{kind}.png") for kind in ("actual-masked", "diff"))
    assert (seen.getpixel((9, 39)), seen.getpixel((10, 39))) == ((255, 255, 255), (0, 0, 0))
    assert diff.getpixel((0, 0)) == (190, 205, 235)
    with pytest.raises(AssertionError, match=" 3 of 2400 "):
        check(hidden, use_mask=False)


def test_what_is_hidden_does_not_decide_about_its_neighbours(check, folder):
    mask = Image.new("L", SIZE, "white")
    mask.paste(0, (0, 0, 10, 40))
    mask.save(folder / "it.mask.png")
    for noise in range(5):
        image = disc()
        image.paste(Image.effect_noise((10, 40), 40 * noise), (0, 0))
        with pytest.raises(AssertionError, match=r" 1 of 2000 [^;]*$"):
            check(with_pixels(image, (10, 20), colour=(200, 200, 200)))


def test_a_mask_hides_before_an_expectation_is_written(folder):
    mask = Image.new("L", SIZE, "white")
    mask.paste(0, (20, 10, 40, 30))
    mask.save(folder / "new.mask.png")
    with pytest.raises(AssertionError, match="nobody has said"):
        check_image(folder / "results", disc(), folder / "new.expected.png")
    assert read(folder / "new.expected.png").getpixel((30, 20)) == (255, 255, 255)


def test_a_picture_larger_than_its_mask_is_told_by_its_size(check, folder):
    mask = Image.new("L", SIZE, "white")
    mask.paste(0, (0, 0, 10, 40))
    mask.save(folder / "it.mask.png")
    with pytest.raises(AssertionError, match=r"70x50 pixels instead of 60x40. 1100 of 3100"):
        check(grown((70, 50)))


def test_a_name_without_the_ending_has_no_mask(folder):
    disc().save(folder / "plain.png")
    Image.new("L", SIZE, "black").save(folder / "plain.mask.png")
    check_image(folder / "results", disc(), folder / "plain.png")
    with pytest.raises(AssertionError, match="plain does not look"):
        check_image(folder / "results", with_pixels(disc(), (1, 1)), folder / "plain.png")
    assert results(folder) == ["plain.actual-masked.png", "plain.diff.png"]


@pytest.mark.parametrize("way", ["argument", "environment"])
def test_generating_writes_what_is_seen_and_checks_nothing(check, folder, monkeypatch, way):
    if way == "environment":
        monkeypatch.setenv("C2C_ACCEPTANCE_GENERATE_IMAGES", "1")
    check(disc(colour="red"), generate_expected_image=way == "argument")
    assert read(folder / "it.expected.png").tobytes() == disc(colour="red").tobytes()
    assert results(folder) == []


def test_the_picture_in_a_file_is_checked_and_named(folder):
    seen = folder / "seen.png"
    disc().save(seen)
    check_image_file(folder / "results", seen, folder / "it.expected.png")
    with_pixels(disc(), (5, 7)).save(seen)
    with pytest.raises(AssertionError, match=f"picture: {seen}\n"):
        check_image_file(str(folder / "results"), str(seen), str(folder / "it.expected.png"))


def test_the_given_picture_is_not_altered(check, folder):
    Image.new("1", SIZE, 1).save(folder / "it.mask.png")
    image = with_pixels(disc(), (5, 7))
    before = image.tobytes()
    with pytest.raises(AssertionError):
        check(image)
    assert image.tobytes() == before


@pytest.mark.parametrize("argument", ["level", "threshold"])
@pytest.mark.parametrize("value", [-0.1, 1.5, float("nan")])
def test_a_share_out_of_bounds_is_told(check, argument, value):
    with pytest.raises(ValueError, match=f"{argument}={value}: expected a number from 0 to 1"):
        check(disc(), **{argument: value})


def test_an_expectation_that_is_no_picture_is_named(check, folder):
    (folder / "it.expected.png").write_text("git-lfs pointer")
    with pytest.raises(ValueError, match=r"it\.expected\.png: not an image that can be read"):
        check(disc())
