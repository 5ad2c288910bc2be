"""The embedded backbone: its vocabulary, the synthetic text it learnt from, and the script that trained it.

It exists so that everything runs on two CPU cores without a download. It knows the primitive skills of the built-in
tasks in mixed, unlabelled form: asked at a node, it may answer, do a step or two, copy, skip or write junk. Training
selects among these behaviours; it is not told which to use where.
"""
