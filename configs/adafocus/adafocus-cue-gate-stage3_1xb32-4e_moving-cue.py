# Frame skipping (a reconstruction): the classifier learns the skipped frames' zeros.
# tools/analysis_tools/solve_gate_threshold.py finds thresholds for budgets.
_base_ = ['adafocus-cue-stage3_1xb32-4e_moving-cue.py']

model = dict(policy=dict(with_gate=True))
load_from = 'work_dirs/adafocus-cue-gate_1xb32-8e_moving-cue/epoch_8.pth'
