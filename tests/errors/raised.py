"""What users write, and what the real libraries' errors for it become.

Each case is a cell that raises; the names in it are those of `LIBRARIES`. What cannot be raised on a machine
without a card is raised by a stand-in with the library's own words, and stands in `WITHOUT_THE_LIBRARY`, with
where the words come from.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple
from unittest.mock import ANY

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import scipy.linalg
import scipy.sparse as sp
import scipy.sparse.linalg
import sklearn.linear_model
import sklearn.metrics
import sklearn.preprocessing
import torch

from snakepit_nb.errors.types import (
    DeviceMismatch,
    DiskFull,
    DtypeMismatch,
    FailedAssertion,
    FileMissing,
    ImportFailed,
    MissingKey,
    MissingName,
    NotFitted,
    NotPermitted,
    NumericalError,
    OutOfMemory,
    RemoteError,
    ShapeMismatch,
    TooDeep,
    WrongKindOfFile,
)

if TYPE_CHECKING:
    from types import ModuleType


class Case(NamedTuple):
    """A cell, the class that its error becomes, and all the facts."""

    source: str
    cls: type[RemoteError]
    facts: dict[str, object]


LIBRARIES: Final[dict[str, ModuleType]] = {
    "jax": jax,
    "jnp": jnp,
    "np": np,
    "pa": pa,
    "pc": pc,
    "pd": pd,
    "pl": pl,
    "scipy": scipy,
    "sklearn": sklearn,
    "sp": sp,
    "torch": torch,
}

_LINEAR: Final = "m = sklearn.linear_model.LinearRegression()"
_NAN: Final = "np.full((3, 2), np.nan)"

SHAPES: Final[list[tuple[str, dict[str, object]]]] = [
    ("np.ones(3) + np.ones(4)", {"shapes": ((3,), (4,))}),
    ("np.where([True, False], np.ones(3), 1)", {"shapes": ((2,), (3,), ())}),
    ("np.broadcast_to(np.ones(3), (4,))", {"shapes": ((3,), (4,))}),
    ("pd.Series([1, 2]) + [1, 2, 3]", {"shapes": ((2,), (3,))}),
    ("np.einsum('ij,jk', np.ones((2, 3)), np.ones((4, 5)))", {}),
    ("np.broadcast_arrays(np.ones(3), np.ones(4))", {"shapes": ((3,), (4,))}),
    ("x = np.ones(3); x += np.ones((2, 3))", {"shapes": ((3,), (2, 3))}),
    ("x = np.ones(3); x[:] = np.ones(4)", {"shapes": ((4,), (3,))}),
    ("x = np.ones(3); x[[0, 1]] = np.ones(3)", {"shapes": ((3,), (2,))}),
    ("np.ones((3, 2)) @ np.ones((4, 2))", {"sizes": (2, 4)}),
    ("x, w = np.ones((3, 2)), np.ones((4, 2))\nx @ w", {"sizes": (2, 4), "shapes": ((3, 2), (4, 2))}),
    ("np.linalg.solve(np.eye(3), np.ones(4))", {"sizes": (3, 4)}),
    ("np.ones((3, 2)).dot(np.ones((4, 2)))", {"shapes": ((3, 2), (4, 2))}),
    ("np.tensordot(np.ones((2, 3)), np.ones((4, 5)))", {}),
    ("np.concatenate([np.ones((2, 3)), np.ones((2, 4))])", {"sizes": (3, 4)}),
    ("np.vstack([np.ones(2), np.ones(3)])", {"sizes": (2, 3)}),
    ("np.concatenate([np.ones((2, 3)), np.ones(2)])", {}),
    ("np.stack([np.ones(2), np.ones(3)])", {}),
    ("x, y = np.ones(2), np.ones(3)\nnp.stack([x, y])", {"shapes": ((2,), (3,))}),
    ("np.ones(6).reshape(4, 2)", {"shapes": ((4, 2),)}),
    ("np.ones(6).reshape(4, -1)", {}),
    ("np.array([[1], [1, 2]])", {}),
    ("np.linalg.inv(np.ones((2, 3)))", {}),
    ("np.linalg.det(np.ones(3))", {}),
    ("np.ones(3).sum(axis=2)", {}),
    ("np.ones(3)[0, 1]", {}),
    ("np.ones((3, 2))[1, 7, 2]", {}),
    ("np.ones(3)[np.ones(4, bool)]", {"sizes": (3, 4)}),
    ("sp.csr_array(np.ones((2, 3))) + sp.csr_array(np.ones((4, 5)))", {}),
    ("sp.csr_array(np.ones((2, 3))) * np.ones((4, 5))", {"shapes": ((2, 3), (4, 5))}),
    ("sp.csr_array(np.ones((2, 3))) @ np.ones(4)", {"sizes": (3, 4)}),
    ("sp.hstack([sp.csr_array(np.ones((2, 3))), sp.csr_array(np.ones((4, 5)))])", {}),
    ("sp.vstack([sp.csr_array(np.ones((2, 3))), sp.csr_array(np.ones((4, 5)))])", {}),
    ("scipy.linalg.inv(np.ones((2, 3)))", {"shapes": ((2, 3),)}),
    ("scipy.linalg.solve(np.eye(3), np.ones(4))", {"shapes": ((3, 3), (4, 1))}),
    ("jnp.ones(3) + jnp.ones(4)", {"shapes": ((3,), (4,))}),
    ("jnp.ones((2, 3)) @ jnp.ones((4, 5))", {"shapes": ((3,), (4,))}),
    ("jnp.concatenate([jnp.ones((2, 3)), jnp.ones((2, 4))])", {"shapes": ((2, 3), (2, 4))}),
    ("jnp.stack([jnp.ones(2), jnp.ones(3)])", {"shapes": ((2,), (3,))}),
    ("jnp.ones(6).reshape(4, 2)", {"shapes": ((6,),)}),
    ("jnp.broadcast_to(jnp.ones(3), (4,))", {"shapes": ((3,), (4,))}),
    ("jnp.ones(3)[0, 1]", {}),
    ("jnp.ones(3).sum(axis=3)", {}),
    ("jax.vmap(lambda x, y: x + y)(jnp.ones(3), jnp.ones(4))", {}),
    ("torch.ones(2, 3) @ torch.ones(4, 5)", {"shapes": ((2, 3), (4, 5))}),
    ("torch.nn.Linear(3, 2)(torch.ones(5, 4))", {"shapes": ((5, 4), (3, 2))}),
    ("torch.ones(2, 3) @ torch.ones(4)", {"shapes": ((2, 3),)}),
    ("torch.ones(3) @ torch.ones(4)", {"shapes": ((3,), (4,))}),
    ("torch.ones(2, 2, 3) @ torch.ones(2, 5, 4)", {"shapes": ((2, 3), (2, 5))}),
    ("torch.bmm(torch.ones(2, 3), torch.ones(2, 4, 5))", {}),
    ("torch.ones(2, 3) + torch.ones(2, 4)", {"sizes": (3, 4)}),
    ("torch.ones(3).expand(2, 4)", {"sizes": (3, 4), "shapes": ((2, 4), (3,))}),
    ("x = torch.ones(3); x[:] = torch.ones(4)", {"sizes": (4, 3), "shapes": ((3,), (4,))}),
    ("x = torch.ones(3); x += torch.ones(2, 3)", {"shapes": ((3,), (2, 3))}),
    ("torch.cat([torch.ones(2, 3), torch.ones(3, 4)])", {"sizes": (3, 4)}),
    ("torch.cat([torch.ones(2, 3), torch.ones(3)])", {}),
    ("torch.stack([torch.ones(2), torch.ones(3)])", {"shapes": ((2,), (3,))}),
    ("torch.ones(8).reshape(3, 3)", {"shapes": ((3, 3),)}),
    ("torch.ones(2, 4).t().view(8)", {}),
    ("torch.ones(3)[torch.ones(4, dtype=torch.bool)]", {"shapes": ((4,), (3,))}),
    ("torch.ones(3)[0, 1]", {}),
    ("torch.ones(3).sum(dim=2)", {}),
    ("torch.nn.Conv2d(3, 4, 3)(torch.ones(1, 2, 8, 8))", {"shapes": ((4, 3, 3, 3), (1, 2, 8, 8))}),
    ("torch.nn.Conv2d(3, 4, 3)(torch.ones(8, 8))", {"shapes": ((8, 8),)}),
    ("torch.nn.Conv2d(3, 4, 9)(torch.ones(1, 3, 8, 8))", {}),
    ("torch.nn.BatchNorm1d(3)(torch.ones(2, 4))", {"sizes": (3, 4)}),
    ("torch.nn.LayerNorm(3)(torch.ones(2, 4))", {"shapes": ((3,), (2, 4))}),
    ("torch.nn.LSTM(3, 2)(torch.ones(2, 4))", {"sizes": (3, 4)}),
    ("torch.nn.functional.cross_entropy(torch.ones(2, 3), torch.tensor([0, 1, 2]))", {"sizes": (2, 3)}),
    ("torch.nn.functional.binary_cross_entropy(torch.ones(2), torch.ones(3))", {"shapes": ((3,), (2,))}),
    ("torch.linalg.inv(torch.ones(2, 3))", {}),
    ("torch.einsum('ij,jk->ik', torch.ones(2, 3), torch.ones(4, 5))", {"sizes": (3, 4)}),
    (
        "torch.nn.Linear(3, 2).load_state_dict({'weight': torch.ones(2, 4), 'bias': torch.ones(2)})",
        {"shapes": ((2, 4), (2, 3))},
    ),
    ("torch.tensor([[1], [1, 2]])", {"sizes": (1, 2)}),
    ("df = pd.DataFrame({'a': [1, 2, 3, 4]}); df['b'] = [1, 2, 3]", {"sizes": (3, 4)}),
    ("df = pd.DataFrame({'a': [1]}); df.columns = ['a', 'b']", {"sizes": (1, 2)}),
    ("df = pd.DataFrame({'a': [1]}); df[['x', 'y']] = np.ones((1, 3))", {}),
    ("pd.DataFrame({'a': [1, 2], 'b': [1]})", {}),
    ("pd.DataFrame(np.ones((2, 3)), columns=['a', 'b'])", {"shapes": ((2, 3), (2, 2))}),
    ("pd.DataFrame({'a': [1, 2]})[[True]]", {"sizes": (1, 2)}),
    ("pd.Series([1, 2]) == pd.Series([1, 2, 3])", {}),
    ("pd.DataFrame({'a': [1]}) == pd.DataFrame({'b': [1]})", {}),
    ("pd.Series([1, 2])[pd.Series([True])]", {}),
    ("pd.Series([1]).dot(pd.Series([1, 2]))", {}),
    ("pd.DataFrame({'a': [1]}) @ np.ones(4)", {"shapes": ((1, 1), (4,))}),
    ("pl.DataFrame({'a': [1, 2], 'b': [1]})", {"sizes": (1, 2)}),
    ("pl.DataFrame({'a': [1, 2]}).with_columns(pl.Series('b', [1, 2, 3]))", {"sizes": (3, 2)}),
    ("pl.DataFrame({'a': [1, 2]}).vstack(pl.DataFrame({'b': [1]}))", {}),
    ("pl.concat([pl.DataFrame({'a': [1]}), pl.DataFrame({'a': [1], 'b': [1]})])", {"sizes": (1, 2)}),
    ("pl.Series([1, 2]).dot(pl.Series([1, 2, 3]))", {"sizes": (2, 3)}),
    ("pl.Series([1, 2]) + pl.Series([1, 2, 3])", {"sizes": (2, 3)}),
    ("pa.table({'a': [1, 2], 'b': [1]})", {"sizes": (1, 2)}),
    ("pa.table({'a': [1, 2]}).append_column('b', [[1]])", {"sizes": (1, 2)}),
    ("pa.Table.from_arrays([pa.array([1, 2])], names=['a', 'b'])", {"sizes": (2, 1)}),
    ("pc.add(pa.array([1, 2]), pa.array([1, 2, 3]))", {}),
    ("pa.concat_tables([pa.table({'a': [1]}), pa.table({'b': [1]})])", {}),
    ("pa.array(np.ones((2, 2)))", {}),
    (f"{_LINEAR}; m.fit(np.ones((3, 2)), np.ones(4))", {"sizes": (3, 4)}),
    (f"{_LINEAR}.fit(np.ones((4, 4)), np.ones(4)); m.predict(np.ones((2, 3)))", {"sizes": (3, 4)}),
    (f"{_LINEAR}.fit(pd.DataFrame({{'a': [1., 2]}}), [1, 2]); m.predict(pd.DataFrame({{'b': [1.]}}))", {}),
    (f"{_LINEAR}; m.fit(np.ones(3), np.ones(3))", {}),
    (f"{_LINEAR}; m.fit(np.ones((2, 2, 2)), [1, 2])", {}),
    (f"{_LINEAR}; m.fit(np.ones((0, 2)), [])", {"shapes": ((0, 2),)}),
    (
        "sklearn.linear_model.LogisticRegression().fit(np.ones((2, 2)), np.ones((2, 2)))",
        {"shapes": ((2, 2),)},
    ),
]

DTYPES: Final[list[tuple[str, dict[str, object]]]] = [
    ("np.array(['a']) + 1", {"dtypes": ("<U1", "int64")}),
    ("np.ones(2) < np.array(['a'])", {"dtypes": ("float64", "str")}),
    ("x = np.ones(3, int); x += 0.5", {"dtypes": ("float64", "int64")}),
    ("np.array(['2020'], 'M8[Y]') + np.array(['2020'], 'M8[Y]')", {"dtypes": ("<M8[Y]", "<M8[Y]")}),
    ("np.bitwise_and(np.ones(2), np.ones(2))", {}),
    ("x = np.ones(2)\nnp.bitwise_and(x, x)", {"dtypes": ("float64",)}),
    ("np.array(['a']).astype(float)", {}),
    ("np.array([True]) - np.array([True])", {}),
    ("-np.array([True])", {}),
    ("np.dtype('nope')", {}),
    ("x = np.ones(3, 'u1'); x[0] = 300", {"dtypes": ("uint8",)}),
    ("torch.ones(3).double() @ torch.ones(3)", {"dtypes": ("float64", "float32")}),
    ("torch.ones(2, 3).double() @ torch.ones(3, 2)", {"dtypes": ("float64", "float32")}),
    ("torch.nn.Linear(3, 2)(torch.ones(2, 3).double())", {"dtypes": ("float64", "float32")}),
    (
        "torch.nn.Conv2d(3, 4, 3)(torch.ones(1, 3, 8, 8).double())",
        {"dtypes": ("float64", "float32")},
    ),
    ("torch.ones(3, dtype=torch.int64).mean()", {"dtypes": ("int64",)}),
    ("x = torch.ones(3, dtype=torch.int64); x += 0.5", {"dtypes": ("float32", "int64")}),
    ("torch.nn.functional.cross_entropy(torch.ones(2, 3), torch.ones(2))", {"dtypes": ("float32",)}),
    ("torch.tensor([1, 2]).bitwise_and(torch.ones(2))", {"dtypes": ("float32",)}),
    ("torch.where(torch.ones(2), torch.ones(2), torch.ones(2))", {"dtypes": ("float32",)}),
    ("torch.nn.functional.one_hot(torch.ones(2))", {}),
    ("torch.from_numpy(np.array(['a']))", {"dtypes": ("str_",)}),
    ("pd.Series(['a']) + 1", {"dtypes": ("str",)}),
    ("pd.Series(['a']).mean()", {"dtypes": ("string",)}),
    ("a, b = pd.DataFrame({'a': [1]}), pd.DataFrame({'a': ['x']})\na.merge(b)", {"dtypes": ("int64", "str")}),
    ("s = pd.Series([1], dtype='int8'); s.iloc[0] = 1000", {"dtypes": ("int8",)}),
    ("pd.Series([1]).str.upper()", {}),
    ("pd.Series([1]).dt.year", {}),
    ("pd.to_numeric(pd.Series(['a']))", {}),
    ("pl.DataFrame({'a': ['x']}).select(pl.col('a') + 1)", {"dtypes": ("str", "dyn int")}),
    ("pl.Series(['a']).cast(pl.Int64)", {"dtypes": ("str", "i64")}),
    ("pl.DataFrame({'a': ['x']}).select(pl.col('a').sum())", {"dtypes": ("str",)}),
    ("pl.DataFrame({'a': ['x']}).filter(pl.col('a'))", {"dtypes": ("string", "boolean")}),
    (
        "pl.DataFrame({'a': [1]}).join(pl.DataFrame({'a': ['x']}), on='a')",
        {"dtypes": ("i64", "str")},
    ),
    ("pl.concat([pl.DataFrame({'a': [1]}), pl.DataFrame({'a': ['x']})])", {"dtypes": ("string", "int64")}),
    ("pl.DataFrame({'a': [1]}).select(pl.col('a').str.to_uppercase())", {"dtypes": ("i64", "string")}),
    ("pc.add(pa.array([1]), pa.array(['a']))", {"dtypes": ("int64", "string")}),
    ("pa.array([1, 'a'])", {"dtypes": ("str", "int64")}),
    ("pa.array(['a']).cast(pa.int64())", {"dtypes": ("int64",)}),
    ("pa.concat_arrays([pa.array([1]), pa.array(['a'])])", {"dtypes": ("int64", "string")}),
    ("pa.array([1.5]).cast(pa.int64())", {"dtypes": ("int64",)}),
    ("sklearn.linear_model.LogisticRegression().fit(np.ones((3, 2)), [.1, .2, .3])", {}),
    ("sklearn.metrics.accuracy_score([0, 1], [.3, .2])", {}),
    (f"{_LINEAR}; m.fit(pd.DataFrame({{'a': ['x', 'y']}}), [1, 2])", {}),
    ("sp.csr_array(np.array(['a']))", {"dtypes": ("<U1",)}),
    ("jnp.array(['a'])", {"dtypes": ("<U1",)}),
    ("jnp.bitwise_and(jnp.ones(3), 1)", {"dtypes": ("float32",)}),
    ("jax.lax.add(jnp.ones(3), jnp.ones(3, int))", {"dtypes": ("float32", "int32")}),
    ("jax.grad(lambda x: x * 1)(3)", {"dtypes": ("int32",)}),
]

DEVICES: Final[list[tuple[str, dict[str, object]]]] = [
    ("torch.ones(3) + torch.ones(3, device='meta')", {"devices": ("meta", "cpu")}),
    ("torch.ones(3, device='meta').numpy()", {"devices": ("meta", "cpu")}),
    ("torch.ones(3).cuda()", {"devices": ("cuda",)}),
    ("jax.devices('gpu')", {"devices": ("gpu",)}),
]

MEMORY: Final[list[tuple[str, dict[str, object]]]] = [
    ("np.zeros((10**7, 10**7))", {"asked_bytes": 8 * 10**14, "free_bytes": ANY, "device": "cpu"}),
    ("np.ones((10**7, 10**7), np.uint8)", {"asked_bytes": 10**14, "free_bytes": ANY, "device": "cpu"}),
    ("torch.ones(10**7, 10**7)", {"asked_bytes": 4 * 10**14, "free_bytes": ANY, "device": "cpu"}),
    ("pa.allocate_buffer(10**15)", {"asked_bytes": 10**15, "free_bytes": ANY, "device": "cpu"}),
    ("jnp.zeros((10**7, 10**7))", {"asked_bytes": 4 * 10**14, "device": "cpu"}),
    ("bytearray(10**15)", {"free_bytes": ANY, "device": "cpu"}),
    ("'a' * 10**15", {"free_bytes": ANY, "device": "cpu"}),
]

MODULES: Final[list[tuple[str, dict[str, object]]]] = [
    ("import no_such_module", {"module": "no_such_module", "package": "no_such_module"}),
    ("import no_such.module", {"module": "no_such", "package": "no_such"}),
    ("import numpy.zzzzzz", {"module": "numpy.zzzzzz", "package": None}),
    ("import bisect.nope", {"module": "bisect.nope", "package": None}),
    ("import skleran", {"module": "skleran", "package": "skleran", "close": ("sklearn",)}),
    ("import numpy.linlag", {"module": "numpy.linlag", "package": None, "close": ANY}),
    (
        "from collections import OrderdDict",
        {
            "module": "collections",
            "member": "OrderdDict",
            "package": None,
            "close": ("OrderedDict", "UserDict"),
        },
    ),
]

KEYS: Final[list[tuple[str, dict[str, object]]]] = [
    ("{}['a']", {"key": "'a'"}),
    ("{}.pop(('a', 1))", {"key": "('a', 1)"}),
    ("set().pop()", {}),
    ("d = {'alpha': 1, 'omega': 2}; d['Alhpa']", {"key": "'Alhpa'", "close": ("alpha",)}),
    ("d = {'a': {'beta': 1}, 'beaten': 1}; d['a']['beat']", {"key": "'beat'", "close": ("beaten", "beta")}),
    ("import os; os.environ['NO_SUCH_VARIABLE']", {"key": "'NO_SUCH_VARIABLE'"}),
    (
        "from collections import OrderedDict\nd = OrderedDict(alpha=1); d['alpah']",
        {"key": "'alpah'", "close": ("alpha",)},
    ),
    ("from collections import deque\ndeque().pop()", {}),
    ("from collections import deque\ndeque([1])[4]", {}),
    ("[1][4]", {}),
    ("(1,)[4]", {}),
    ("b'a'[4]", {}),
    ("[].pop()", {}),
    ("np.ones((3, 2))[1, 7]", {"key": "7", "axis": 1, "size": 2}),
    ("np.ones(3)['a']", {}),
    ("x = np.zeros(2, [('alpha', 'i4')]); x['alpa']", {"key": "'alpa'", "close": ("alpha",)}),
    ("torch.ones(3, 2)[:, 5]", {"key": "5", "axis": 1, "size": 2}),
    ("torch.gather(torch.ones(2, 2), 1, torch.tensor([[5]]))", {"key": "5", "axis": 1, "size": 2}),
    ("torch.nn.Embedding(3, 2)(torch.tensor([5]))", {}),
    ("torch.nn.functional.cross_entropy(torch.ones(2, 3), torch.tensor([0, 7]))", {"key": "7"}),
    ("pd.DataFrame({'a': [1]})['b']", {"key": "'b'"}),
    ("df = pd.DataFrame({'alpha': [1]}); df['alpah']", {"key": "'alpah'", "close": ("alpha",)}),
    ("df = pd.DataFrame({'alpha': [1]}); df[['alpah', 'alpha']]", {"key": "'alpah'", "close": ("alpha",)}),
    ("df = pd.DataFrame({'alpha': [1]}); df[['alpah']]", {"key": "'alpah'", "close": ("alpha",)}),
    ("df = pd.DataFrame({'alpha': [1]}); df.drop(columns='alpah')", {"key": "'alpah'", "close": ("alpha",)}),
    (
        "df = pd.DataFrame({'alpha': [1]}); df.groupby('alpha')['alpah']",
        {"key": "'alpah'", "close": ("alpha",)},
    ),
    ("df = pd.DataFrame({'alpha': [1]}); df.query('alpah > 1')", {"key": "'alpah'", "close": ("alpha",)}),
    ("pd.Series([1]).iloc[4]", {}),
    ("pd.Index([1])[5]", {"key": "5", "axis": 0, "size": 1}),
    ("df = pl.DataFrame({'alpha': [1]}); df['alpah']", {"key": "'alpah'", "close": ("alpha",)}),
    ("df = pl.DataFrame({'alpha': [1]}); df.select('alpah')", {"key": "'alpah'", "close": ("alpha",)}),
    ("pl.Series([1])[5]", {"key": "5", "axis": 0, "size": 1}),
    ("pl.DataFrame({'a': [1]}).row(5)", {"key": "5", "axis": 0, "size": 1}),
    ("t = pa.table({'alpha': [1]}); t['alpah']", {"key": "'alpah'", "close": ("alpha",)}),
    ("t = pa.table({'alpha': [1]}); t.schema.field('alpah')", {"key": "'alpah'", "close": ("alpha",)}),
    ("t = pa.table({'alpha': [1]}); t.drop_columns(['alpah'])", {"key": "'alpah'", "close": ("alpha",)}),
    ("t = pa.table({'alpha': [1]}); t.sort_by('alpah')", {"key": "'alpah'", "close": ("alpha",)}),
    ("pa.array([1])[5]", {}),
    ("pa.array([0]).take(pa.array([5]))", {"key": "5"}),
    ("sp.csr_array(np.ones((2, 3)))[5, 0]", {"key": "5"}),
]

NAMES: Final[list[tuple[str, dict[str, object]]]] = [
    ("prnt(1)", {"name": "prnt", "close": ("print",)}),
    ("no_such_name_at_all", {"name": "no_such_name_at_all"}),
    ("np.linspaec(0, 1)", {"name": "linspaec", "owner": "numpy", "close": ("linspace", "logspace")}),
    (
        "df = pd.DataFrame({'alpha': [1]}); df.alpah",
        {"name": "alpah", "owner": "DataFrame", "close": ("alpha",)},
    ),
    ("'E'.uper()", {"name": "uper", "owner": "str", "close": ("upper", "isupper")}),
    ("None.foo", {"name": "foo", "owner": "NoneType"}),
    ("class A:\n    alpha = 1\nA.alhpa", {"name": "alhpa", "owner": "A", "close": ("alpha",)}),
]

NUMBERS: Final[list[tuple[str, dict[str, object]]]] = [
    ("np.linalg.inv(np.zeros((2, 2)))", {}),
    ("np.linalg.solve(np.zeros((2, 2)), np.ones(2))", {}),
    ("np.linalg.cholesky(-np.eye(2))", {}),
    ("np.linalg.svd(np.full((2, 2), np.nan))", {}),
    ("np.linalg.eig(np.full((2, 2), np.nan))", {}),
    ("scipy.linalg.inv(np.full((2, 2), np.nan))", {}),
    ("x = np.ones(3, int); x[0] = float('nan')", {}),
    ("np.histogram([np.nan], bins=3)", {}),
    ("with np.errstate(all='raise'):\n    np.ones(2) / np.zeros(2)", {}),
    ("scipy.linalg.inv(np.zeros((2, 2)))", {}),
    ("scipy.linalg.cholesky(-np.eye(2))", {}),
    ("scipy.sparse.linalg.splu(sp.csc_matrix(np.zeros((2, 2))))", {}),
    ("torch.linalg.inv(torch.zeros(2, 2))", {}),
    ("torch.linalg.solve(torch.zeros(2, 2), torch.ones(2))", {}),
    ("torch.linalg.cholesky(-torch.eye(2))", {}),
    ("torch.linalg.svd(torch.full((2, 2), float('nan')))", {}),
    ("torch.multinomial(torch.tensor([float('nan')]), 1)", {}),
    ("torch.distributions.Normal(torch.tensor(float('nan')), 1.)", {}),
    ("with jax.debug_nans(True):\n    jnp.log(-1.0)", {}),
    ("pd.Series([float('nan')]).astype(int)", {}),
    (f"{_LINEAR}; m.fit({_NAN}, np.ones(3))", {}),
    (f"{_LINEAR}; m.fit(np.full((3, 2), np.inf), np.ones(3))", {}),
    ("pc.divide(pa.array([1]), pa.array([0]))", {}),
]

FILES: Final[list[tuple[str, type[RemoteError], dict[str, object]]]] = [
    ("open('/no/such')", FileMissing, {"path": "/no/such"}),
    ("open('it\\'s not here')", FileMissing, {"path": "it's not here"}),
    ("import os; os.rename('/no/a', '/no/b')", FileMissing, {"path": "/no/a"}),
    ("pd.read_csv('/no/such.csv')", FileMissing, {"path": "/no/such.csv"}),
    ("np.loadtxt('/no/such.txt')", FileMissing, {"path": "/no/such.txt"}),
    ("pa.memory_map('/no/such')", FileMissing, {"path": "/no/such"}),
    ("pd.read_parquet('/no/such.parquet')", FileMissing, {"path": "/no/such.parquet"}),
    ("pl.read_csv('/no/such.csv')", FileMissing, {"path": "/no/such.csv"}),
    ("pd.DataFrame({'a': [1]}).to_csv('/no/such/x.csv')", FileMissing, {"path": "/no/such"}),
    ("open('/')", WrongKindOfFile, {"path": "/"}),
    ("open('/dev/null/x')", WrongKindOfFile, {"path": "/dev/null/x"}),
    ("import os; os.mkdir('/')", WrongKindOfFile, {"path": "/"}),
    ("file = open('/dev/full', 'wb', buffering=0)\nwith file:\n    file.write(b'a')", DiskFull, {}),
    ("import os; os.unlink('/proc/self/stat')", NotPermitted, {"path": "/proc/self/stat"}),
]

PROGRAMS: Final[list[tuple[str, type[RemoteError], dict[str, object]]]] = [
    ("def f(n):\n    return f(n + 1)\nf(0)", TooDeep, {"function": "f", "depth": ANY}),
    ("a = []\nfor _ in range(100000):\n    a = [a]\nrepr(a)", TooDeep, {"depth": 1}),
    ("assert 1 == 2", FailedAssertion, {"asserted": "1 == 2"}),
    ("x = 1\nassert x == 2, 'they differ'", FailedAssertion, {"asserted": "x == 2, 'they differ'"}),
    (f"{_LINEAR}; m.predict(np.ones((2, 3)))", NotFitted, {"estimator": "LinearRegression"}),
]

RAISED: Final[list[Case]] = [
    *(Case(source, ShapeMismatch, facts) for source, facts in SHAPES),
    *(Case(source, DtypeMismatch, facts) for source, facts in DTYPES),
    *(Case(source, DeviceMismatch, facts) for source, facts in DEVICES),
    *(Case(source, OutOfMemory, facts) for source, facts in MEMORY),
    *(Case(source, ImportFailed, facts) for source, facts in MODULES),
    *(Case(source, MissingKey, facts) for source, facts in KEYS),
    *(Case(source, MissingName, facts) for source, facts in NAMES),
    *(Case(source, NumericalError, facts) for source, facts in NUMBERS),
    *(Case(*case) for case in FILES),
    *(Case(*case) for case in PROGRAMS),
]


class Words(NamedTuple):
    """What a library says that cannot be made to say it here: the name of the type, and the message."""

    library: str
    kind: str
    message: str
    cls: type[RemoteError]
    facts: dict[str, object]


_GIB: Final = 2**30
_DETAILS: Final = (
    "Including non-PyTorch memory, this process has 69.10 GiB memory in use. Of the allocated memory "
    "68.00 GiB "
    "is allocated by PyTorch, and 500.00 MiB is reserved by PyTorch but unallocated."
)

# The words of torch are those of ATen's and c10's sources (CUDACachingAllocator.cpp, TensorUtils, the CUDA
# wrappers), some of them of older releases; those of CuPy are in cupy/cuda/memory.pyx, cupy/_core/_kernel.pyx
# and cupy/_core/core.pyx. Nothing here has a card; on a machine with one the same would be raised.
WITHOUT_A_CARD: Final[list[Words]] = [
    Words(
        "torch",
        "torch.OutOfMemoryError",
        "CUDA out of memory. Tried to allocate 20.00 GiB. GPU 1 has a total capacity of 79.15 GiB of which "
        f"10.50 GiB is free. {_DETAILS}",
        OutOfMemory,
        {"asked_bytes": 20 * _GIB, "free_bytes": 21 * _GIB // 2, "device": "cuda:1"},
    ),
    Words(
        "torch",
        "torch.OutOfMemoryError",
        "CUDA out of memory. Tried to allocate 64.00 MiB (GPU 0; 8.00 GiB total capacity; 6.53 GiB already "
        "allocated; 0 bytes free; 6.53 GiB reserved in total by PyTorch) If reserved memory is >> allocated",
        OutOfMemory,
        {"asked_bytes": 64 * 2**20, "free_bytes": 0, "device": "cuda:0"},
    ),
    Words(
        "torch",
        "RuntimeError",
        "Expected all tensors to be on the same device, but found at least two devices, cuda:0 and cpu! "
        "(when "
        "checking argument for argument mat2 in method wrapper_CUDA_mm)",
        DeviceMismatch,
        {"devices": ("cuda:0", "cpu")},
    ),
    Words(
        "torch",
        "RuntimeError",
        "Expected all tensors to be on the same device, but got mat2 is on cpu, different from other "
        "tensors on "
        "cuda:0 (when checking argument in method wrapper_CUDA_addmm)",
        DeviceMismatch,
        {"devices": ("cpu", "cuda:0")},
    ),
    Words(
        "torch",
        "RuntimeError",
        "Expected all tensors to be on the same device. addmm: expected 'mat1' to be a CPU tensor, but got "
        "tensor on cuda:0",
        DeviceMismatch,
        {"devices": ("cuda:0", "cpu")},
    ),
    Words(
        "torch",
        "RuntimeError",
        "Input type (torch.FloatTensor) and weight type (torch.cuda.FloatTensor) should be the same or input "
        "should be a MKLDNN tensor and weight is a dense tensor",
        DeviceMismatch,
        {"devices": ("cpu", "cuda")},
    ),
    Words(
        "torch",
        "TypeError",
        "can't convert cuda:0 device type tensor to numpy. Use Tensor.cpu() to copy the tensor to host "
        "memory "
        "first.",
        DeviceMismatch,
        {"devices": ("cuda:0", "cpu")},
    ),
    Words(
        "torch",
        "RuntimeError",
        "Attempting to deserialize object on a CUDA device but torch.cuda.is_available() is False. If you "
        "are "
        "running on a CPU-only machine, please use torch.load with map_location=torch.device('cpu')",
        DeviceMismatch,
        {"devices": ("cuda",)},
    ),
    Words(
        "cupy",
        "cupy.cuda.memory.OutOfMemoryError",
        "Out of memory allocating 8,000,000,512 bytes (allocated so far: 1,024 bytes).",
        OutOfMemory,
        {"asked_bytes": 8_000_000_512, "device": "cuda"},
    ),
    Words(
        "cupy",
        "cupy.cuda.memory.OutOfMemoryError",
        "Out of memory allocating 512 bytes (allocated so far: 1,024 bytes, limit set to: 2,048 bytes).",
        OutOfMemory,
        {"asked_bytes": 512, "device": "cuda"},
    ),
    Words(
        "cupy",
        "ValueError",
        "The device where the array resides (0) is different from the current device (1). Peer access is "
        "unavailable between these devices.",
        DeviceMismatch,
        {"devices": ("cuda:0", "cuda:1")},
    ),
    Words(
        "cupy",
        "ValueError",
        "Array device must be same as the current device: array device = 0 while current = 1",
        DeviceMismatch,
        {"devices": ("cuda:0", "cuda:1")},
    ),
    Words(
        "cupy",
        "TypeError",
        "Implicit conversion to a NumPy array is not allowed. Please use `.get()` to construct a NumPy array "
        "explicitly.",
        DeviceMismatch,
        {"devices": ("cuda", "cpu")},
    ),
]

# Words or types of a rule alone, or all of it from the user's own hand.
MISSES: Final = [
    "raise ValueError('operands could not be broadcast together with shapes (3,) (4,) ')",
    "raise ValueError('shapes (3,2) and (4,2) not aligned: 2 (dim 1) != 4 (dim 0)')",
    "raise ValueError('all input arrays must have the same shape')",
    "raise RuntimeError('mat1 and mat2 shapes cannot be multiplied (2x3 and 4x5)')",
    "raise torch.OutOfMemoryError('CUDA out of memory. Tried to allocate 1.00 GiB.')",
    "raise RuntimeError('the zoom of the room is out of memory')",
    "raise ValueError('oom')",
    "raise RuntimeError('CUDA error: device-side assert triggered')",
    "raise RuntimeError('Expected all tensors to be on the same device, said the user')",
    "raise np.linalg.LinAlgError('Singular matrix')",
    "raise RuntimeError('Unable to allocate 8.00 GiB for an array with shape (1,) and data type float64')",
    "raise MemoryError",
    "class Mine(MemoryError):\n    pass\nraise Mine('a')",
    "raise ImportError(\"No module named 'x'\")",
    "raise ModuleNotFoundError(\"No module named 'x'\", name='x')",
    "raise KeyError('mine')",
    "class Mine(dict):\n    def __missing__(self, key):\n        raise KeyError(key)\nMine()['a']",
    "class Mine(KeyError):\n    pass\nraise Mine('a')",
    "raise IndexError('list index out of range')",
    "raise IndexError('index 7 is out of bounds for axis 1 with size 2')",
    "raise NameError(\"name 'x' is not defined\", name='x')",
    "raise AttributeError(\"'A' object has no attribute 'x'\")",
    "def f():\n    y\n    y = 1\nf()",
    "raise FileNotFoundError(2, 'No such file or directory', '/no/such')",
    "raise OSError(28, 'No space left on device')",
    "raise RecursionError('maximum recursion depth exceeded')",
    "raise AssertionError('1 == 2')",
    "np.testing.assert_allclose(np.ones(3), np.zeros(3))",
    "raise ValueError('X has 3 features, but LinearRegression is expecting 4 features as input.')",
    "np.cross(np.ones(3), np.ones(5))",
    "np.split(np.ones(5), 2)",
    "torch.ones(3).item()",
    "torch.ones(3, requires_grad=True).numpy()",
    "pd.concat([])",
    "pd.DataFrame({'a': [1, 1]}).merge(pd.DataFrame({'a': [1, 1]}), on='a', validate='1:1')",
    "pl.Series([1, 'a'])",
    "pa.array([300], pa.int8())",
    "sklearn.linear_model.LogisticRegression(C=-1).fit(np.ones((2, 2)), [0, 1])",
    "jnp.ones(3)['a']",
    "int('numpy')",
    "float('x')",
    "1 / 0",
    "len(3)",
]
