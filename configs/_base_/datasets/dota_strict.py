# What strict reading of DOTA changes in mmrotate's configs, by name: mmengine lets no
# base override another, so a config says train_dataloader = {{_base_.dota_train}}.
dota_train = dict(
    persistent_workers=False, dataset=dict(type='dynnet.DOTADatasetStrict')
)
dota_val = dict(dataset=dict(type='dynnet.DOTADatasetStrict'))
# Testing writes the zip for the evaluation server.
dota_test = dict(
    dataset=dict(
        type='dynnet.DOTADatasetStrict',
        ann_file='',
        data_prefix=dict(img_path='test/images/'),
    )
)
dota_zip = dict(format_only=True, merge_patches=True, outfile_prefix='work_dirs/Task1')
