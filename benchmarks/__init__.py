"""
Our stores beside their peers and beside the limit, and the demonstration that they do their main job.

- Who: `contenders` defines what a contender is; `memory`, `files`, `sqlite`, `buckets` and `redis` define all of them;
  `call_styles` has the calls of packages with several kinds of stores.
- What: `operations`, and the matrix, the story and the targets in `cases`; besides `cold`, `copying`, `decorators`,
  `processes` (with `child`) and `settings`. `targets` judges what is promised.
- How: `harness` measures, on the loops of a `session`.
- Then: `report`, `comparing`, `plot`, `pages`.
"""
