"""
Our stores beside their peers and beside the limit, and the demonstration that they do their main job.

- Who: `sides` says what a side is; `memory`, `files`, `sqlite`, `buckets` and `redis` have them; `spelled` the calls of
  packages with several kinds of stores.
- What: `operations`, and the matrix in `cases`; besides `cold`, `copying`, `decorators`, `processes` (with `child`) and
  `settings`. `catalogue` chooses, and has what is promised; `promises` judges it.
- How: `harness` measures, on the loops of a `session`.
- Then: `report`, `comparing`, `plot`, `pages`.
"""
