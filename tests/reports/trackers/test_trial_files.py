from loratory.reports.trackers.trial_files import CurveReader, merge


def _steps(points):
    return [point.optimizer_step for point in points]


def test_a_growing_curve_is_read_piece_by_piece(driver):
    reader = CurveReader(driver.folder, "0000")
    assert reader.read() == []
    driver.folder.append_curve("0000", [driver.point(1), driver.point(2)])
    assert _steps(reader.read()) == [1, 2]
    assert reader.read() == []
    with (driver.folder.trial("0000") / "curve.jsonl").open("a") as file:
        text = driver.point(3).model_dump_json() + "\n"
        file.write(text[:20])
        file.flush()
        assert reader.read() == []
        file.write(text[20:])
    assert _steps(reader.read()) == [3]


def test_a_curve_that_was_cut_is_read_from_its_start(driver):
    reader = CurveReader(driver.folder, "0000")
    driver.folder.append_curve("0000", [driver.point(step) for step in (1, 2, 3)])
    reader.read()
    driver.folder.cut_curve("0000", after_optimizer_step=1)
    driver.folder.append_curve("0000", [driver.point(step) for step in (2, 3, 4)])
    assert _steps(reader.read()) == [1, 2, 3, 4]


def test_a_line_that_a_crash_cut_short_is_left_out(driver):
    path = driver.folder.trial("0000") / "curve.jsonl"
    driver.folder.append_curve("0000", [driver.point(1)])
    with path.open("a") as file:
        file.write('{"optimizer_step": 2, "lo')
    driver.folder.append_curve("0000", [driver.point(3), driver.point(4)])
    assert _steps(CurveReader(driver.folder, "0000").read()) == [1, 4]


def test_an_evaluation_stands_after_the_step_it_was_made_at(driver):
    driver.start(0)
    for evaluation in (1, 2):
        driver.train(0, evaluation)
    points = driver.folder.read_curve("0000")
    measurements = driver.records[0].measurements
    merged = merge(points, measurements)
    assert [merged.index(m) for m in measurements] == [5, 11]
    assert len(merged) == 12
