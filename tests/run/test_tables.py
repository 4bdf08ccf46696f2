"""Tables as people have them: what is read of a file or a DataFrame, what is refused, and what is given back."""

import csv
import gzip
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from small_runs import few, short, trained

from jaxvae import elbo
from jaxvae.recipes import table
from jaxvae.run import table_rows
from jaxvae.run.data import DataError
from jaxvae.run.data.columns import MISSING, read_text, table_of
from jaxvae.run.data.frames import filled, is_frame, like, table_of_frame
from jaxvae.run.data.own_tables import dataset_of, own_table, write_completed, write_rows
from jaxvae.run.data.schema import columns_of, from_facts, rows_of, schema_of
from jaxvae.run.recipe import about

RANDOM = np.random.default_rng(0)
SIZE = 40
PEOPLE = {
    "id": [f"p{number}" for number in range(SIZE)],
    "height": [f"{value:.2f}" for value in RANDOM.normal(170, 10, SIZE)],
    "sex": RANDOM.choice(["f", "m"], SIZE).tolist(),
    "town": RANDOM.choice(["Bergen", "Oslo", "Tromsø, N"], SIZE).tolist(),
    "visits": [str(value) for value in RANDOM.poisson(3, SIZE)],
    "smokes": RANDOM.choice(["0", "1"], SIZE).tolist(),
    "grade": RANDOM.choice(["1", "2", "3"], SIZE).tolist(),
}
HOLES = {("height", 3): "", ("sex", 4): "NA", ("town", 5): "?", ("visits", 6): "nan", ("smokes", 7): "null"}


@pytest.fixture(autouse=True)
def _standard_promotion():
    with jax.numpy_dtype_promotion("standard"):
        yield


def written(path, columns=PEOPLE, holes=HOLES, *, delimiter=",", header=True):
    columns = {name: list(cells) for name, cells in columns.items()}
    for (name, row), word in holes.items():
        if name in columns:
            columns[name][row] = word
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, delimiter=delimiter)
        if header:
            writer.writerow(columns)
        writer.writerows(zip(*columns.values(), strict=True))
    return path


def people(tmp_path, **more):
    how = {"leave_out": ("id",), "counts": ("visits",), "classes": ("grade",)} | more
    return own_table(written(tmp_path / "people.csv"), **how)


# --- what is read


def test_each_column_is_what_it_looks_like_or_is_declared_to_be(tmp_path):
    found = people(tmp_path)
    assert {column.name: column.kind for column in found.schema.columns} == {
        "height": "number",
        "sex": "class",
        "town": "class",
        "visits": "count",
        "smokes": "class",
        "grade": "class",
    }
    assert found.schema.sizes == (2, 3, 2, 3)
    assert found.schema.said() == "1 number; classes sex (2), town (3), smokes (2), grade (3); counts visits"
    values, mask = found.rows
    assert {name: (cells.shape, cells.dtype.name) for name, cells in values.items()} == {
        "numbers": ((SIZE, 1), "float32"),
        "classes": ((SIZE, 4), "int32"),
        "counts": ((SIZE, 1), "float32"),
    }
    missing = {name: np.argwhere(~cells).tolist() for name, cells in mask.items()}
    assert missing == {"numbers": [[3, 0]], "classes": [[4, 0], [5, 1], [7, 2]], "counts": [[6, 0]]}
    assert found.missing == pytest.approx(5 / (6 * SIZE))
    without = own_table(found.text.path, leave_out=("id",))
    assert {column.kind for column in without.schema.columns if column.name in ("visits", "grade")} == {"number"}


def test_numbers_are_standardised_by_the_observed_cells_of_the_training_rows(tmp_path):
    train = np.random.RandomState(0).permutation(SIZE)[: SIZE - 8]
    hole = train[4]
    path = written(tmp_path / "t.csv", {name: PEOPLE[name] for name in ("height", "sex")}, {("height", hole): ""})
    found = own_table(path)
    heights = np.array([float(PEOPLE["height"][row]) for row in train if row != hole])
    column = found.schema.columns[0]
    assert (column.mean, column.scale) == pytest.approx((heights.mean(), heights.std()))
    cells, observed = found.rows[0]["numbers"][train, 0], found.rows[1]["numbers"][train, 0]
    assert cells[observed].mean() == pytest.approx(0, abs=1e-6)
    assert cells[observed].std() == pytest.approx(1, rel=1e-5)
    assert cells[~observed].tolist() == [0.0]


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("header", [True, False])
def test_a_completed_table_is_the_table_with_its_holes_filled(tmp_path, delimiter, header):
    path = written(tmp_path / "people.csv", delimiter=delimiter, header=header)
    names = list(PEOPLE) if header else [f"column {number}" for number in range(1, 8)]
    how = {"header": "yes" if header else "no"}
    found = own_table(path, leave_out=names[:1], counts=names[4:5], classes=names[6:], **how)
    values = jax.tree.map(np.zeros_like, found.rows[0])
    values["classes"] = np.eye(3)[np.full((SIZE, 4), 1)]  # probabilities: the second class of each
    values["counts"] = values["counts"] + 2.6
    assert write_completed(tmp_path / "out.csv", found, values) == 5
    with path.open(newline="", encoding="utf-8") as one, (tmp_path / "out.csv").open(newline="") as other:
        before, after = (list(csv.reader(file, delimiter=delimiter)) for file in (one, other))
    assert len(before) == len(after) == SIZE + header
    changed = [
        (row - header, column, old, new)
        for row, (olds, news) in enumerate(zip(before, after, strict=True))
        for column, (old, new) in enumerate(zip(olds, news, strict=True))
        if old != new
    ]
    mean = f"{found.schema.columns[0].mean:.7g}"
    assert changed == [
        (3, 1, "", mean),
        (4, 2, "NA", "m"),
        (5, 3, "?", "Oslo"),
        (6, 4, "nan", "3"),
        (7, 5, "null", "1"),
    ]
    write_rows(tmp_path / "new.csv", found, found.rows[0])
    of_new = {"counts": names[4:5], "classes": names[6:]} if header else {"counts": names[3:4], "classes": names[5:6]}
    assert own_table(tmp_path / "new.csv", **of_new, **how).schema.sizes == (2, 3, 2, 3)


def test_decimal_commas_are_read_and_written_where_they_are_asked_for(tmp_path):
    (tmp_path / "t.csv").write_text("a;b\n" + "".join(f"{n},5;{n % 3}\n" for n in range(12)) + ";1\n")
    with pytest.raises(DataError, match=r"line 2, column 'a': '0,5' is no number; .*--data.decimal comma"):
        own_table(tmp_path / "t.csv")
    found = own_table(tmp_path / "t.csv", decimal="comma")
    assert columns_of(found.rows[0], found.schema)[0][:3] == pytest.approx([0.5, 1.5, 2.5])
    write_completed(tmp_path / "out.csv", found, found.rows[0])
    assert (tmp_path / "out.csv").read_text().splitlines()[-1] == f"{found.schema.columns[0].mean:.7g};1".replace(
        ".", ","
    )
    (tmp_path / "p.csv").write_text("a;b\n" + "".join(f"{n}.5;{n}\n" for n in range(12)))
    with pytest.raises(DataError, match=r"'0.5' is no number; write a decimal comma"):
        own_table(tmp_path / "p.csv", decimal="comma")


def test_columns_come_back_from_what_the_model_reads(tmp_path):
    found = people(tmp_path)
    text = table_of(read_text(found.text.path), words=("sex",), leave_out=("id",))
    back = dict(zip(text.names, columns_of(found.rows[0], found.schema), strict=True))
    for name, column in zip(text.names, text.columns, strict=True):
        for row, cell in enumerate(column):
            if cell is None or cell != cell:
                continue
            if isinstance(cell, str):
                assert back[name][row] == cell
            else:
                assert back[name][row] == pytest.approx(cell, rel=1e-6)


def test_what_a_schema_says_survives_json(tmp_path):
    found = people(tmp_path)
    facts = json.loads(json.dumps(dataset_of(found).facts))
    assert from_facts(facts["columns"]) == found.schema


# --- what is refused


@pytest.mark.parametrize(
    ("column", "more", "sentence"),
    [
        (["7"] * SIZE, {}, r"column 'x' has one value, 7.0, in all training rows, .*\(--data.drop x\)"),
        (["red"] * SIZE, {}, "column 'x' has one value, 'red', in all training rows"),
        ([""] * SIZE, {}, r"column 'x' has no cell in the 32 training rows: leave it out \(--data.drop x\)"),
        ([f"n{n}" for n in range(SIZE)], {}, "column 'x' has 40 classes in 40 rows, and so is a name rather"),
        ([*"12345678", "unknown", *["9"] * (SIZE - 9)], {}, r"line 10, .*'unknown' is no number, and line 2 has '1'"),
        (["1.5", *map(str, range(SIZE - 1))], {"counts": ("x",)}, r"column 'x' holds .*1.5.*, and a count is 0, 1, 2"),
        (
            ["-1", *map(str, range(SIZE - 1))],
            {"counts": ("x",)},
            "and a count is 0, 1, 2, ...: leave out --data.counts",
        ),
        (["a", "b"] * (SIZE // 2), {"counts": ("x",)}, "'x' holds 'a', and a count is"),
        (["inf", *map(str, range(SIZE - 1))], {}, "'inf' is not finite"),
        (["1"] * SIZE, {"classes": ("y",)}, r"--data.classes y: .* has no column 'y'"),
        (["1"] * SIZE, {"leave_out": ("X",)}, r"--data.drop X: .* has no column 'X': did you mean 'x'\?|there are"),
    ],
    ids=lambda value: None if not isinstance(value, str) else value[:30],
)
def test_columns_of_which_there_is_no_model_are_refused_by_their_names(tmp_path, column, more, sentence):
    columns = {"x": column, "z": PEOPLE["height"]}
    with pytest.raises(DataError, match=sentence):
        own_table(written(tmp_path / "t.csv", columns, {}, header=True), header="yes", **more)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("a,b\n1,2,3\n", "line 2: 3 cells where the first line has 2"),
        ("a,b\n", "has column names and no rows"),
        ("\n\n", "is empty"),
        ("a,a\n1,2\n", "two columns called 'a'"),
        ("a,b\n" + "1,2\n" * 5, "has 5 rows, and a model of them needs at least 10"),
    ],
)
def test_what_is_no_table_is_refused(tmp_path, text, sentence):
    (tmp_path / "t.csv").write_text(text)
    with pytest.raises(DataError, match=sentence):
        own_table(tmp_path / "t.csv")
    with pytest.raises(DataError, match="cannot be read"):
        own_table(tmp_path / "nothing.csv")


def test_a_table_is_read_with_and_without_names(tmp_path):
    (tmp_path / "t.csv").write_text('a,"b, c"\n1,2\n\n3,-4e1\n')
    text = read_text(tmp_path / "t.csv")
    assert (text.names, text.lines, text.headed) == (["a", "b, c"], [2, 4], True)
    np.testing.assert_array_equal(np.stack(table_of(text).columns, axis=1), [[1, 2], [3, -40]])
    (tmp_path / "t.csv").write_text("\ufeff1;2\n3;4")
    text = read_text(tmp_path / "t.csv")
    assert (text.names, text.headed) == (["column 1", "column 2"], False)
    np.testing.assert_array_equal(np.stack(table_of(text).columns, axis=1), [[1, 2], [3, 4]])
    assert read_text(tmp_path / "t.csv", header="yes").names == ["1", "2"]


def test_a_packed_table_is_read_as_the_table(tmp_path):
    path = written(tmp_path / "people.csv")
    (tmp_path / "people.csv.gz").write_bytes(gzip.compress(path.read_bytes()))
    assert read_text(tmp_path / "people.csv.gz")._replace(path=path) == read_text(path)
    (tmp_path / "cut.csv.gz").write_bytes(gzip.compress(path.read_bytes())[:100])
    with pytest.raises(DataError, match=r"cut.csv.gz cannot be read"):
        read_text(tmp_path / "cut.csv.gz")


def test_words_for_missing_cells_can_be_chosen(tmp_path):
    cells = ["none", "street", *["garage", "none"] * 19]
    path = written(tmp_path / "t.csv", {"parking": cells, "z": PEOPLE["height"]}, {("z", 2): "unknown"})
    found = own_table(path, missing=("unknown",))
    assert found.schema.columns[0].levels == ("garage", "none", "street")
    assert "none" in MISSING
    assert np.argwhere(~found.rows[1]["numbers"]).tolist() == [[2, 0]]


def test_another_table_must_have_the_columns_and_classes_of_the_first(tmp_path):
    first = people(tmp_path)
    other = {name: list(reversed(cells)) for name, cells in reversed(PEOPLE.items())}
    again = own_table(written(tmp_path / "b.csv", other | {"new": ["x"] * SIZE}, {}), schema=first.schema)
    np.testing.assert_array_equal(again.rows[0]["classes"][::-1][8:], first.rows[0]["classes"][8:])
    few_rows = {name: cells[:2] for name, cells in PEOPLE.items()}
    assert len(own_table(written(tmp_path / "c.csv", few_rows, {}), schema=first.schema).rows[0]["numbers"]) == 2
    for name, cell, sentence in [
        ("town", "Paris", r"line 2, column 'town': 'Paris' is none of its classes 'Bergen', 'Oslo', .*leave the cell"),
        ("grade", "4", r"line 2, column 'grade': 4.0 is none of its classes 1.0, 2.0, 3.0"),
        ("visits", "0.5", r"line 2, column 'visits': 0.5 is no count"),
    ]:
        with pytest.raises(DataError, match=sentence):
            own_table(written(tmp_path / "d.csv", PEOPLE, {(name, 0): cell}), schema=first.schema)
    without = {name: cells for name, cells in PEOPLE.items() if name != "sex"}
    with pytest.raises(DataError, match=r"has no column 'sex': .*The model has it"):
        own_table(written(tmp_path / "e.csv", without, {}), schema=first.schema)


def test_classes_that_no_training_row_has_are_told(tmp_path, capfd):
    held_out = np.random.RandomState(0).permutation(SIZE)[-1]
    people(tmp_path)
    assert "note" not in capfd.readouterr().err
    own_table(written(tmp_path / "b.csv", PEOPLE, {("town", held_out): "Bodø"}), leave_out=("id",))
    assert "column 'town': no training row has 'Bodø'" in capfd.readouterr().err


# --- DataFrames


class Frame(dict):
    """The least that a DataFrame is."""

    columns = property(list)
    dtypes = property(lambda self: {name: type(cells[0]).__name__ for name, cells in self.items()})

    def to_numpy(self):
        raise NotImplementedError

    def __getitem__(self, name):
        return Cells(super().__getitem__(name))

    def astype(self, dtypes):
        return self

    def __len__(self):
        return len(next(iter(self.values())))


class Cells(list):
    def to_numpy(self):
        return np.array(self, object)


def pandas_frame():
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(
        {
            "height": [1.5, None, 1.8, 1.7],
            "visits": pandas.array([3, None, 0, 7], dtype="Int64"),
            "town": pandas.Categorical(["Oslo", "Bergen", None, "Oslo"], categories=["Oslo", "Bergen", "Bodø"]),
            "smokes": [True, False, True, True],
            "name": ["a", None, "b", "a"],
            "whole": [1, 2, 3, 4],
        },
        index=[10, 11, 12, 13],
    )
    return frame


def polars_frame():
    polars = pytest.importorskip("polars")
    return polars.DataFrame(
        {
            "height": [1.5, None, 1.8, 1.7],
            "visits": [3, None, 0, 7],
            "town": polars.Series(["Oslo", "Bergen", None, "Oslo"], dtype=polars.Enum(["Oslo", "Bergen", "Bodø"])),
            "smokes": [True, False, True, True],
            "name": ["a", None, "b", "a"],
            "whole": [1, 2, 3, 4],
        }
    )


def any_frame():
    return Frame(
        height=[1.5, None, 1.8, 1.7],
        visits=[3, None, 0, 7],
        town=["Oslo", "Bergen", None, "Oslo"],
        smokes=[True, False, True, True],
        name=["a", float("nan"), "b", "a"],
        whole=[1, 2, 3, 4],
    )


@pytest.mark.parametrize("make", [pandas_frame, polars_frame, any_frame])
def test_a_frame_is_completed_in_its_own_form(make):
    frame = make()
    assert is_frame(frame)
    found = table_of_frame(frame)
    schema = schema_of(found, np.arange(4), "X", two_values=False, keep_constant=True)
    kinds = [column.kind for column in schema.columns]
    assert kinds == ["number", "number", "class", "class", "class", "number"]
    rows = rows_of(found, schema, "X")
    assert np.argwhere(~rows[1]["numbers"]).tolist() == [[1, 0], [1, 1]]
    assert np.argwhere(~rows[1]["classes"]).tolist() == [[1, 2], [2, 0]]
    back = filled(frame, schema, rows, rows[0])
    assert type(back) is type(frame)
    assert list(back.columns) == list(frame.columns)
    if make is not any_frame:
        assert [str(back[name].dtype) for name in back.columns] == [str(frame[name].dtype) for name in back.columns]
    table_again = table_of_frame(back)
    np.testing.assert_allclose(table_again.columns[0], [1.5, 5 / 3, 1.8, 1.7])
    np.testing.assert_allclose(table_again.columns[1], [3, 3, 0, 7])
    assert table_again.columns[2].tolist() == ["Oslo", "Bergen", "Bergen", "Oslo"]
    assert table_again.columns[3].tolist() == [True, False, True, True]
    assert table_again.columns[4].tolist() == ["a", "a", "b", "a"]
    if make is pandas_frame:
        assert list(back.index) == [10, 11, 12, 13]


def test_frames_of_other_things_are_refused():
    with pytest.raises(DataError, match="column 'a' holds booleans and strings: give it one of them"):
        table_of_frame(Frame(a=[True, "x"]))
    with pytest.raises(DataError, match="column 'a' holds list, neither numbers nor classes"):
        table_of_frame(Frame(a=[[1], [2]]))
    pandas = pytest.importorskip("pandas")
    with pytest.raises(DataError, match=r"column 'when' holds datetime64.*days since a date"):
        table_of_frame(pandas.DataFrame({"when": pandas.to_datetime(["2020-01-01", "2021-01-01"])}))


# --- the kind


def configured(path, **more):
    data = table.Table(str(path), classes=("grade",), counts=("visits",), drop=("id",))
    model = table.Model(latent=2, hidden=(8,), **more)
    return table.Config(data=data, model=model, imputation=table.Imputation(num_samples=5, samples=20))


@pytest.mark.parametrize("more", [{}, {"numbers": "student-t", "mask": True}], ids=str)
def test_a_density_is_that_of_the_columns_in_their_own_units(tmp_path, more):
    """A table in other units has the same model of standardised rows, and log p lower by ln of what they are larger."""
    units = {"height": 1000.0, "weight": 0.01}
    one = {"height": PEOPLE["height"], "weight": PEOPLE["height"][::-1], "sex": PEOPLE["sex"]}
    other = {
        name: [repr(float(cell) * units[name]) for cell in cells] if name in units else cells
        for name, cells in one.items()
    }
    bounds = []
    for number, columns in enumerate((one, other)):
        path = written(tmp_path / f"{number}.csv", columns, {("height", 3): "", ("sex", 4): ""})
        config = table.Config(data=table.Table(str(path)), model=table.Model(latent=2, hidden=(8,), **more))
        dataset = table.load(config)
        recipe = table.recipe(config, about(dataset))
        params, _ = recipe.init(jax.random.key(0))
        rows = jax.tree.map(jnp.asarray, own_table(path).rows)
        of_rows = jax.vmap(
            lambda row, recipe=recipe, params=params: elbo(
                recipe.model, jax.random.key(1), params, table.prepare(None, row)
            )
        )
        bounds.append(np.asarray(of_rows(rows)))
    expected = np.full(SIZE, np.log(1000.0) + np.log(0.01))
    expected[3] = np.log(0.01)  # of whose height there is no density
    np.testing.assert_allclose(bounds[0] - bounds[1], expected, atol=2e-3)


def test_hidden_cells_are_observed_ones_and_a_share_of_them(tmp_path):
    rows = own_table(written(tmp_path / "t.csv"), leave_out=("id",)).rows
    seen, hidden = table.hidden_of(rows, 0.5)
    for block, cells in hidden.items():
        assert not np.any(cells & ~rows[1][block])
        np.testing.assert_array_equal(seen[1][block], rows[1][block] & ~cells)
        assert 0.3 < cells.sum() / rows[1][block].sum() < 0.7
    assert all(
        np.array_equal(a, b) for a, b in zip(table.hidden_of(rows, 0.5)[1].values(), hidden.values(), strict=True)
    )


def test_errors_of_guesses_are_those_of_the_hidden_cells_alone():
    values = {"numbers": np.array([[1.0, -2.0], [0.5, 3.0]]), "classes": np.array([[1], [0]], np.int32)}
    hidden = {"numbers": np.array([[True, False], [True, True]]), "classes": np.array([[True], [False]])}
    guess = {"numbers": np.array([[0.0, 99.0], [0.5, 1.0]]), "classes": np.array([[[0.1, 0.9]], [[0.1, 0.9]]])}
    found = table.errors_of((values, hidden), hidden, guess)
    error, means = found["test_imputation_error"], found["test_imputation_error_of_means"]
    assert (error.values.tolist(), error.over.tolist()) == ([1.0, 4.0], [1, 2])
    assert means.values.tolist() == [1.0, 0.25 + 9.0]
    accuracy = found["test_imputation_accuracy"]
    assert (accuracy.values.tolist(), accuracy.over.tolist()) == ([1, 0], [1, 0])


def test_what_lies_in_missing_cells_is_not_read(tmp_path):
    path = written(tmp_path / "people.csv")
    dataset = few(table.load(configured(path)))
    found = trained(short(configured(path)))
    assert all(np.all(np.isfinite(leaf)) for leaf in jax.tree.leaves(found.params))
    values, mask = dataset.train.examples
    rows = ({block: np.where(mask[block], cells, 5).astype(cells.dtype) for block, cells in values.items()}, mask)
    assert any(np.any(rows[0][block] != values[block]) for block in values)
    model = table.recipe(configured(path), about(dataset)).model
    codes, others = (
        table_rows.by_rows(table_rows.encode, model, found.params, some) for some in (rows, (values, mask))
    )
    np.testing.assert_array_equal(codes, others)


def test_rows_have_their_own_draws_in_any_company(tmp_path):
    rows = own_table(written(tmp_path / "t.csv"), leave_out=("id",)).rows
    seeds = table_rows.seeds_of(rows)
    turned = jax.tree.map(lambda cells: cells[::-1], rows)
    np.testing.assert_array_equal(table_rows.seeds_of(turned), seeds[::-1])
    assert len(set(seeds.tolist())) == SIZE


def test_like_rounds_to_whole_numbers_where_the_column_holds_them():
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"a": [1, 2], "b": [0.5, 1.5]})
    made = like(frame, {"a": np.array([1.6, 2.2, 0.4]), "b": np.array([0.1, 0.2, 0.3])})
    assert made["a"].tolist() == [2, 2, 0]
    assert made.dtypes.tolist() == frame.dtypes.tolist()
