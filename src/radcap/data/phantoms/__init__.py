"""Phantoms: seeded, drawn, radiology-like pictures with captions and the exact concepts of what is drawn.

How: `case.sample_case` picks facts from the one table in `atlas`, `draw.draw` draws them, `wording.caption` says
them, `write.write` lays them out on disk like ROCOv2. `general` and `diagrams` hold pretraining material: pictures
of coloured shapes, and diagrams in radiology's words.
"""
