# 10 000 pictures of Fashion-MNIST's training set, for quick comparisons over seeds.
# Hold-out and test set are those of the whole set.
_base_ = './fashion_mnist.py'

train_dataloader = dict(
    dataset=dict(
        _delete_=True,
        type='dynnet.Subset',
        num=10000,
        dataset={{_base_.train_dataloader.dataset}},
    )
)
