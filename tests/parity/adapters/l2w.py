"""L2W-DEN: the weight prediction network, and whole training iterations."""

import tempfile
from pathlib import Path

import numpy as np
import torch
from mmengine.config import Config
from mmengine.optim import CosineAnnealingLR, OptimWrapperDict
from mmengine.registry import init_default_scope

from dynnet.models.weighting import WeightPredictionNetwork, centre_weights
from dynnet.registry import MODELS, OPTIM_WRAPPER_CONSTRUCTORS
from dynnet.utils.checkpoint import load_weights
from dynnet.utils.conversion import convert_checkpoint, l2w_keys

from ..loader import make_input, make_l2w_batch
from . import Case, Result, adapter
from .early_exit import CLASSES, shared_settings


@adapter('WeightPredictionNetwork')
def wpn(case: Case) -> Result:
    kwargs = case.meta['kwargs']
    size, exits = kwargs['input_size'], kwargs['output_size']
    net = WeightPredictionNetwork(
        num_exits=exits,
        hidden_size=kwargs['hidden_size'],
        num_layers=kwargs['num_layers'],
        input_type='both' if size == 2 * exits else 'loss',
        activation=dict(MLP='sigmoid', MLP_tanh='tanh')[case.meta['official']],
    )
    weights = {k: torch.from_numpy(v) for k, v in case.weights().items()}
    converted = l2w_keys({}, weights)
    net.load_state_dict({k.removeprefix('wpn.'): v for k, v in converted.items()})
    x = torch.from_numpy(case.input())
    cotangent = torch.from_numpy(make_input(case.meta['cotangent']))

    output = net(x)
    arrays = dict(output=(output, 1e-5, 1e-6))
    for centre, delta in case.meta['epsilon'].items():
        weight = centre_weights(output, delta, centre)
        arrays[f'weight_{centre}'] = (weight, 1e-5, 1e-6)
        net.zero_grad()
        (weight * cotangent).sum().backward(retain_graph=True)
        for name, parameter in net.named_parameters():
            arrays[f'grad_{centre}/{name}'] = (parameter.grad.clone(), 1e-4, 1e-5)
    return Result(arrays=arrays)


@adapter('L2W training iteration (train mode)')
def iteration(case: Case) -> Result:
    exact = run(case, torch.float64)
    loop, meta = case.meta['kwargs']['loop'], case.meta
    for name, ours in exact.facts.items():
        np.testing.assert_allclose(ours, meta[name], rtol=1e-6, atol=1e-9, err_msg=name)
    assert exact.selected == [[sorted(s) for s in step] for step in meta['selected']]
    for kind, steps in exact.stats.items():
        for ours, theirs in zip(steps, meta['stats'][kind], strict=True):
            assert ours.keys() == theirs.keys(), (kind, ours.keys() ^ theirs.keys())
            for name in ours:
                message = f'{loop["name"]} {kind} {name}'
                np.testing.assert_allclose(
                    ours[name], theirs[name], rtol=1e-6, atol=1e-9, err_msg=message
                )
    arrays = {f'f64/{name}': (x, 1e-6, 1e-9) for name, x in exact.arrays.items()}

    ignored = {}
    for name, x in run(case, torch.float32).arrays.items():
        if '/grad/' in name:
            ignored[name] = 'float32 noise, measured as 1e-6 to 1.6 of the value'
        elif '/param_after/' in name:  # Adam's first steps are +-lr
            arrays[name] = (x, 1e-3, 2 * loop['batches'] * meta['meta_lr'][0])
        else:
            arrays[name] = (x, 1e-2, 5e-3)
    return Result(arrays=arrays, ignored=ignored)


class Trace:
    """What one run of the iterations did, by the fixture's names."""

    def __init__(self) -> None:
        self.arrays: dict = {}
        self.selected: list = []
        self.facts = {
            name: []
            for name in (
                'lr',
                'meta_lr',
                'meta_loss_float64',
                'weighted_exit_loss_float64',
                'top1',
            )
        }
        self.stats = dict(theta_hat=[], model_grad=[], model_param=[])


def model_config(kwargs: dict) -> dict:
    """The classifier that the published arguments describe."""
    net = kwargs['model']
    return dict(
        type='dynnet.L2WClassifier',
        backbone=dict(
            type='dynnet.MSDNet',
            base=net['base'],
            prune=net['prune'],
            bottleneck=net['bottleneck'],
            **shared_settings(net),
        ),
        head=dict(
            type='dynnet.MultiExitHead',
            num_classes=CLASSES[net['data']],
            exit=dict(type='dynnet.ConvExit', channels=128),
        ),
        wpn=dict(
            hidden_size=net['meta_net_hidden_size'],
            num_layers=net['meta_net_num_layers'],
            input_type=net['meta_net_input_type'],
            centre=net['constraint_dimension'],
            delta=net['epsilon'],
        ),
        target=net['target_p_index'],
        meta_interval=net['meta_interval'],
    )


def load(case: Case) -> torch.nn.Module:
    """Go a user's way: published file, converter, config, strict loading."""
    states = [
        {name: torch.from_numpy(value) for name, value in case.weights(keys).items()}
        for keys in ('keys', 'meta_keys')
    ]
    init_default_scope('mmpretrain')
    model = model_config(case.meta['kwargs'])
    with tempfile.TemporaryDirectory() as folder:
        source, target, config = (Path(folder, n) for n in ('a.tar', 'b.pth', 'c.py'))
        torch.save(dict(state_dict=states[0], meta_state_dict=states[1]), source)
        Config(dict(model=model)).dump(config)
        entries = ('state_dict', 'meta_state_dict')
        convert_checkpoint(source, target, config, l2w_keys, entries)
        net = MODELS.build(model)
        load_weights(net, target)
    return net


def optimizers(model: torch.nn.Module, kwargs: dict) -> OptimWrapperDict:
    sgd = dict(type='SGD', lr=kwargs['lr'], momentum=0.9, weight_decay=1e-4)
    adam = dict(type='Adam', lr=kwargs['meta_lr'], weight_decay=1e-4)
    parts = dict(model=dict(optimizer=sgd), wpn=dict(optimizer=adam))
    return OPTIM_WRAPPER_CONSTRUCTORS.build(
        dict(type='dynnet.SplitOptimWrapperConstructor', optim_wrapper_cfg=parts)
    )(model)


STATISTICS = (torch.mean, lambda x: x.std(unbiased=False), torch.norm)


def run(case: Case, dtype: torch.dtype) -> Trace:
    """Run the case's batches and note everything that it stores."""
    kwargs, loop = case.meta['kwargs']['model'], case.meta['kwargs']['loop']
    model = load(case).to(dtype).train()
    wrappers = optimizers(model, kwargs)
    schedules = [
        CosineAnnealingLR(
            wrapper,
            T_max=kwargs['epochs'] * loop['batches'],
            eta_min=0,
            by_epoch=False,
        )
        for wrapper in wrappers.values()
    ]
    # Published names of the network's entries, and of the WPN's.
    names = l2w_keys({k: k for k, _ in case.meta['keys']}, {})
    trace, calls, gradients = Trace(), [], {}
    np.testing.assert_allclose(model.shares, case.meta['q'], rtol=1e-6)

    model.wpn.register_forward_hook(
        lambda module, inputs, output: calls.append((inputs[0], output.detach()))
    )
    for key, part in (('wpn', model.wpn), ('model', model)):

        def keep(optimizer, args, kwargs, key=key, part=part) -> None:
            gradients[key] = {
                name: p.grad.clone()
                for name, p in part.named_parameters()
                if p.grad is not None
            }

        wrappers[key].optimizer.register_step_pre_hook(keep)

    def statistics(values: dict) -> dict:
        return {
            names[n]: [float(f(x.detach())) for f in STATISTICS]
            for n, x in values.items()
            if n in names
        }

    arrays, facts, steps, metas = trace.arrays, trace.facts, 0, 0
    number = 0
    for index in range(loop['batches']):
        images, labels = make_l2w_batch(loop['name'], index, loop['batch'])
        halves = list(
            zip(
                torch.from_numpy(images).to(dtype).chunk(2),
                torch.from_numpy(labels).chunk(2),
            )
        )
        model.batch_index = index
        due = model._meta_is_due()
        for train, meta in (halves, halves[::-1]):
            facts['lr'] += wrappers['model'].get_lr()['lr']
            facts['meta_lr'] += wrappers['wpn'].get_lr()['lr']
            calls.clear()
            step = model.half_step(train, meta if due else None, wrappers)
            ahead = step.lookahead
            used = [ahead.weights, step.weights] if due else [step.weights]
            for (seen, output), weights in zip(calls, used, strict=True):
                prefix = f'wpn_call{number}'
                arrays[f'{prefix}/input'] = seen
                arrays[f'{prefix}/output'] = output
                arrays[f'{prefix}/weight'] = weights
                number += 1
            if due:
                arrays[f'pseudo_forward{2 * metas}/logits'] = step.logits
                arrays[f'pseudo_forward{2 * metas + 1}/logits'] = ahead.logits
                for name, p in model.wpn.named_parameters():
                    prefix = f'meta_step{metas}'
                    arrays[f'{prefix}/grad/{name}'] = gradients['wpn'][name]
                    arrays[f'{prefix}/param_after/{name}'] = p.detach().clone()
                facts['meta_loss_float64'].append(float(ahead.loss))
                trace.selected.append(
                    [
                        (ahead.exit_index == k).nonzero().flatten().tolist()
                        for k in range(model.num_exits)
                    ]
                )
                if metas < 2:
                    trace.stats['theta_hat'].append(statistics(ahead.theta_hat))
                metas += 1
            if steps < 2:
                trace.stats['model_grad'].append(statistics(gradients['model']))
            state = model.state_dict()
            for ours, published in names.items():
                name = f'model_step{steps}/state_after/{published}'
                if case.has(name):
                    arrays[name] = state[ours].clone()
            facts['weighted_exit_loss_float64'] += step.weighted.tolist()
            right = (step.logits.argmax(-1) == train[1]).to(torch.float64)
            facts['top1'] += (100 * right.mean(1)).tolist()
            steps += 1
        for schedule in schedules:
            schedule.step()
    state = {k: v for k, v in model.state_dict().items() if v.is_floating_point()}
    trace.stats['model_param'].append(statistics(state))
    return trace
