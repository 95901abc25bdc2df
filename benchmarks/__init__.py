"""
Benchmarks of our stores against their peers and against the limit, and a demonstration of their main job.

- Who: `contenders` defines what a contender is; `memory`, `files`, `sqlite`, `buckets` and `redis` define all of them;
  `call_styles` has the calls of packages with several kinds of stores.
- What: `operations`, and the matrix, the story and the targets in `cases`; besides `cold`, `copying`, `decorators`,
  `processes` (with `child`) and `settings`. `targets` holds what is promised.
- How: `harness` measures, on the loops of a `session`.
- Then: `report`, `comparing`, `plot`, `pages`.
"""
