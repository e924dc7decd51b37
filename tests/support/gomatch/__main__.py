"""Write tests/golden/patterns-go.json: what the Go packages say to some hundred random cases.

Run `python -m tests.support.gomatch` after a new version of them is pinned in go.mod.
"""

from __future__ import annotations

import json
import random
import tempfile
from pathlib import Path
from typing import Any

from tests.support import treecases
from tests.support.gomatch import SOURCE, ask, to_wire

GOLDEN = SOURCE.parents[1] / "golden" / "patterns-go.json"
SEED = 20


def main() -> None:
    rng = random.Random(SEED)
    match = [treecases.match_case(rng, odd=index % 2 == 1) for index in range(300)]
    match = [{"patterns": _wire(c["patterns"]), "paths": _wire(c["paths"][:8])} for c in match]
    glob = [treecases.glob_case(rng) for _ in range(200)]
    glob = [{"pattern": to_wire(c["pattern"]), "name": to_wire(c["name"])} for c in glob]
    with tempfile.TemporaryDirectory() as folder:
        walk = [_walk_case(rng, index, Path(folder)) for index in range(150)]
        questions = [{k: v for k, v in case.items() if k != "tree"} for case in walk]
        answers = ask(match=match, glob=glob, walk=questions)
    for case, answer in zip(walk, answers["walk"], strict=True):
        del case["root"]
        case |= {"error": bool(answer["error"]), "followed": answer["followed"]}
        case["sent"] = [
            e["path"] + (f" -> {e['link']}" if e["mode"] & 1 << 27 else "")
            + (f" = {e['link']}" if e["link"] and not e["mode"] & 1 << 27 else "")
            for e in answer["entries"] or []
        ]  # fmt: skip
    golden = {
        "match": [c | a for c, a in zip(match, answers["match"], strict=True)],
        "glob": [c | {"answer": a} for c, a in zip(glob, answers["glob"], strict=True)],
        "walk": walk,
    }
    lines = [
        f'"{kind}": [\n' + ",\n".join(json.dumps(case) for case in cases) + "\n]"
        for kind, cases in golden.items()
    ]
    GOLDEN.write_text("{\n" + ",\n".join(lines) + "\n}\n")
    print(f"{GOLDEN}: {', '.join(f'{len(v)} {k}' for k, v in golden.items())}")


def _walk_case(rng: random.Random, index: int, folder: Path) -> dict[str, Any]:
    tree = treecases.tree_listing(rng, most=14)
    root = folder / str(index)
    root.mkdir()
    treecases.make_tree(root, tree)
    kind = index % 5
    follow = treecases.follow_paths(rng, tree) if kind in (3, 4) else None
    exclude = treecases.patterns(rng, odd=kind == 2, most=4) if kind in (0, 2, 4) else None
    include = treecases.patterns(rng, odd=False, most=4) if kind in (1, 2) else None
    return {
        "root": str(root),
        "tree": _wire(tree),
        "include": _wire(include),
        "exclude": _wire(exclude),
        "follow": _wire(follow),
    }


def _wire(texts: list[str] | None) -> Any:
    return None if texts is None else [to_wire(text) for text in texts]


if __name__ == "__main__":
    main()
