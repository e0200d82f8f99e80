"""The tables of a comparison on results made up for the purpose."""

from comparisons import COMPLETE, TEACHER, make_results, make_run, parse_table

from experiments.compare import report, tables


def test_accuracies_are_means_deviations_and_differences_by_seed():
    rows = parse_table(tables.accuracy_table(COMPLETE))
    assert list(rows) == ["ce", "kd", "rdd", "teacher resnet20"]
    # With 2 degrees of freedom p = 1 - t / sqrt(2 + t^2): 0.0742 for ce, where t = 2 sqrt(3), and 0.0027 for rdd, where
    # t = 11 sqrt(3). Holm doubles the smaller of the two.
    assert rows["ce"] == {
        "method": "ce",
        "seeds": "3",
        "last epoch": "94.00 ± 1.00",
        "95 % interval": "91.52 to 96.48",
        "best epoch": "94.00 ± 1.00",
        "against kd": "-2.00",
        "p (Holm)": "0.074",
    }
    assert (rows["rdd"]["against kd"], rows["rdd"]["p (Holm)"]) == ("+1.10", "0.005")
    assert (rows["kd"]["last epoch"], rows["kd"]["best epoch"]) == ("96.00 ± 0.00", "98.00 ± 1.00")
    assert rows["kd"]["against kd"] == rows["kd"]["p (Holm)"] == "–"
    assert rows["teacher resnet20"]["last epoch"] == "98.50"


def test_calibration_is_a_mean_with_differences_by_seed():
    taught = TEACHER | {"nll": 0.25, "ece": 0.0125}
    runs = [make_run(label, seed, 90.0, teacher=taught) for label in ("ce", "kd") for seed in range(3)]
    for run in runs:
        worse = run["label"] == "ce"  # By 0.1, 0.2 and 0.3 nats, where t = 2 sqrt(3), and by 1, 2 and 3 points.
        gain = (run["seed"] + 1) * worse
        run["summary"]["student"] |= {"nll": 0.5 + 0.1 * gain, "ece": 0.02 + 0.01 * gain}
    results = make_results(*runs, labels=("ce", "kd", "rdd"))
    rows = parse_table(tables.calibration_table(results))
    assert rows["ce"] == {
        "method": "ce",
        "NLL": "0.700 ± 0.100",
        "NLL against kd": "+0.200",
        "p (Holm) of NLL": "0.074",
        "ECE (%)": "4.00 ± 1.00",
        "ECE (%) against kd": "+2.00",
        "p (Holm) of ECE (%)": "0.074",
    }
    assert list(rows["kd"].values()) == ["kd", "0.500 ± 0.000", "–", "–", "2.00 ± 0.00", "–", "–"]
    assert list(rows["rdd"].values()) == ["rdd", *["–"] * 6]
    assert list(rows["teacher resnet20"].values()) == ["teacher resnet20", "0.250", "–", "–", "1.25", "–", "–"]
    assert tables.calibration_table(results) in report.markdown(results)
    assert "Calibration" not in report.markdown(COMPLETE)


def test_one_seed_has_no_deviation_and_no_p_value():
    results = make_results(make_run("kd", 0, 96.0), make_run("ce", 0, 95.5), labels=("kd", "ce"), seeds=1)
    rows = parse_table(tables.accuracy_table(results))
    assert list(rows["kd"].values()) == ["kd", "1", "96.00", "–", "96.00", "–", "–"]
    assert list(rows["ce"].values()) == ["ce", "1", "95.50", "–", "95.50", "-0.50", "–"]


def test_seeds_that_only_one_method_has_do_not_enter_the_difference():
    finished = [run for run in COMPLETE["runs"] if (run["label"], run["seed"]) not in {("ce", 2), ("kd", 0)}]
    rows = parse_table(tables.accuracy_table(COMPLETE | {"runs": finished}))
    assert (rows["ce"]["seeds"], rows["ce"]["against kd"]) == ("2 of 3", "-2.00")  # 94 and 96 at seed 1.


def test_teachers_are_averaged_over_their_seeds():
    runs = [make_run("kd", seed, 96.0, teacher=TEACHER | {"accuracy": 98.0 + seed}) for seed in range(2)]
    rows = parse_table(tables.accuracy_table(make_results(*runs)))
    assert rows["teacher resnet20"]["last epoch"] == "98.50 ± 0.71"
    untaught = make_results(make_run("kd", 0, 96.0, teacher=None))
    assert list(parse_table(tables.accuracy_table(untaught))) == ["ce", "kd", "rdd"]


def test_times_are_medians_and_metrics_are_means():
    rows = parse_table(tables.cost_table(COMPLETE))
    assert list(rows["ce"].values()) == ["ce", "2.00", "0.50", *["–"] * 6]
    assert rows["rdd"] == {
        "method": "rdd",
        "minutes per run": "1.00",
        "minutes compiling": "0.25",
        "minings": "6",
        "seconds mining": "1.5",
        "CKA": "0.900 ± 0.000",
        "rank correlation": "0.800 ± 0.000",
        "mutual k-NN": "0.500 ± 0.000",
        "transfer to mnist": "91.00 ± 0.00",
    }


def test_columns_without_a_value_are_left_out():
    header = tables.cost_table(make_results(make_run("kd", 0, 96.0, metrics={"cka": 0.75}))).splitlines()[0]
    assert header == "| method | minutes per run | minutes compiling | CKA |"


def test_published_accuracies_are_those_of_the_same_networks():
    def table(student):
        labels = ("kd", "rdd_curriculum", "rdx_triplet")
        runs = [make_run(label, 0, 73.0, teacher=TEACHER | {"name": "resnet32x4"}) for label in labels]
        for run in runs:
            run["summary"]["student"]["name"] = student
        return parse_table(tables.accuracy_table(make_results(*runs, labels=labels, seeds=1, preset="cifar100")))

    published = {label: row["published"] for label, row in table("resnet8x4").items()}
    expected = {"kd": "73.33 / 72.93", "rdd_curriculum": "72.96", "rdx_triplet": "–", "teacher resnet32x4": "79.42"}
    assert published == expected
    assert "published" not in table("resnet8")["kd"]
