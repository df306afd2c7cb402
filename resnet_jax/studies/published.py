"""The tables of the papers as claims. Errors in percent; "recalled" marks what was not read again in its source."""

from functools import partial

from resnet_jax.studies.claim import cifar_claim, imagenet_claim

HE2015 = "He et al. 2015, arXiv:1512.03385"
HE2016 = "He et al. 2016, arXiv:1603.05027"

# Five seeds of ResNet-110 spread by 0.16 in the paper, so that means of five lie within 0.2 of each other.
_residual = partial(cifar_claim, recipe="he2015", tolerance=0.2, seeds=5, source=f"{HE2015}, table 6")
_deep = partial(cifar_claim, recipe="he2015_deep", seeds=5, over="median", tolerance=0.3)
_identity = partial(_deep, source=f"{HE2016}, table 1")
_order = partial(_deep, source=f"{HE2016}, table 2")
_shortcut = partial(
    imagenet_claim, recipe="he2015", tolerance=0.5, seeds=1, protocol="ten_crop", source=f"{HE2015}, table 3"
)
_he_crop = partial(
    imagenet_claim, recipe="he2015", tolerance=0.5, seeds=1, source="KaimingHe/deep-residual-networks, README"
)
_rsb = partial(imagenet_claim, tolerance=0.3, seeds=1, source="arXiv:2110.00476; as evaluated by timm")
_ffcv = partial(imagenet_claim, "resnet50", tolerance=0.3, seeds=1, source="libffcv/ffcv-imagenet, README")

TABLES = {
    "cifar": (
        _residual("resnet20_cifar", error=8.75),
        _residual("resnet32_cifar", error=7.51),
        _residual("resnet44_cifar", error=7.17),
        _residual("resnet56_cifar", error=6.97),
        # The best of five runs was 6.43; their mean, 6.61 ± 0.16, is what five of ours can be compared with.
        _residual("resnet110_cifar", recipe="he2015_deep", error=6.61),
        _residual("resnet1202_cifar", recipe="he2015_deep", error=7.93, tolerance=0.5, seeds=1),
    ),
    "shortcuts": (
        _shortcut("plain34", error=28.54, holds="about"),
        _shortcut("resnet34", error=25.03, options={"shortcut": "A"}),
        _shortcut("resnet34", error=24.52, options={"shortcut": "B"}),
        _shortcut("resnet34", error=24.19, options={"shortcut": "C"}),
    ),
    "preact": (
        _identity("resnet110_cifar", error=6.61),
        _identity("resnet110_constant_cifar", error=12.35, tolerance=1.0, holds="about"),
        _identity("resnet110_exclusive_gate_cifar", error=8.70, tolerance=0.5, holds="about"),
        _identity("resnet110_shortcut_gate_cifar", error=6.91, holds="about"),
        _identity(
            "resnet110_conv_cifar", error=12.22, tolerance=1.0, holds="about", source=f"{HE2016}, table 1 (recalled)"
        ),
        _identity("resnet110_dropout_cifar", error=20.0, tolerance=0.0, holds="at least"),
        _order("resnet110_norm_after_add_cifar", error=8.17, tolerance=0.5, holds="about"),
        _order("resnet110_relu_before_add_cifar", error=7.84, tolerance=0.5, holds="about"),
        _order("resnet110_relu_first_cifar", error=6.71),
        _order("preresnet110_cifar", error=6.37),
        _order("preresnet164_cifar", error=5.46),
        _order("preresnet1001_cifar", error=4.92, source=f"{HE2016}, table 4; KaimingHe/resnet-1k-layers, README"),
        _order(
            "preresnet164_cifar",
            error=24.33,
            options={"dataset": "cifar100"},
            tolerance=0.5,
            source=f"{HE2016}, table 4",
        ),
        _order(
            "preresnet1001_cifar",
            error=22.71,
            options={"dataset": "cifar100"},
            tolerance=0.5,
            source=f"{HE2016}, table 4",
        ),
    ),
    "imagenet": (
        _he_crop("resnet50_v1", error=24.7),
        _he_crop("resnet101_v1", error=23.6),
        _he_crop("resnet152_v1", error=23.0),
        imagenet_claim(
            *("resnet50", "goyal2017", 23.60), tolerance=0.3, seeds=5, source="Goyal et al. 2017, arXiv:1706.02677"
        ),
        imagenet_claim(
            *("resnet50", "torchvision_v2", 19.14),
            tolerance=0.3,
            seeds=1,
            metric="ema_top1",
            source="torchvision, second weights",
        ),
        _rsb("resnet50", recipe="rsb_a1", error=19.62),
        _rsb("resnet50", recipe="rsb_a2", error=20.17),
        _rsb("resnet50", recipe="rsb_a3", error=21.95),
        _ffcv(recipe="ffcv16", error=26.2),
        _ffcv(recipe="ffcv88", error=21.6),
        imagenet_claim(
            *("resnet50", "mlperf_lars", 24.1), tolerance=0.0, seeds=1, source="MLPerf training, quality target"
        ),
    ),
}
