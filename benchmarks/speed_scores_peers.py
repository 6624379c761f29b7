"""What a person would otherwise write for the rows of speed_scores.py: trained until a validation reaches a score.

    python benchmarks/speed_scores_peers.py SYSTEM ROW DATA EPOCHS

DATA is the folder that torchkiln is given too: train, val and test, of pictures in class folders, or tables. After each
validation a line `accuracy 0.8123` is printed, and whoever reads it stops the process when it is enough. Each system is
used as its own documentation shows it for that kind of data, from random weights, with its defaults; where those are
meant for published weights (the Trainer's rate of 5e-5 and batches of 8), they are the usual ones for a fresh net.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

CLASSES = 10
NUMBERS = ["age", "fnlwgt", "education-num", "capital-gain", "capital-loss", "hours-per-week"]
WORDS = ["workclass", "education", "marital-status", "occupation", "relationship", "race", "sex", "native-country"]


def say(accuracy: float) -> None:
    print(f"\naccuracy {accuracy:.6f}", flush=True)  # a bar may stand on the line


# What any such script holds: the data as tensors, and a net


def pictures(data: Path, split: str, train: bool) -> Any:
    """A picture folder with the augmentation of every CIFAR-10 tutorial."""
    import torch
    from torchvision.datasets import ImageFolder
    from torchvision.transforms import v2

    augment = [v2.RandomCrop(32, padding=4), v2.RandomHorizontalFlip()] if train else []
    last = [v2.ToImage(), v2.ToDtype(torch.float32, scale=True),
            v2.Normalize((0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616))]  # fmt: skip
    return ImageFolder(str(data / split), v2.Compose([*augment, *last]))


def table(data: Path) -> tuple[Any, Any]:
    """Train and val of adult: numbers standardised, categories one-hot, missing values imputed; by scikit-learn."""
    import pandas as pd
    import torch
    from sklearn.compose import ColumnTransformer
    from sklearn.impute import SimpleImputer
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler
    from torch.utils.data import TensorDataset

    frames = [pd.read_csv(data / f"{split}.csv") for split in ("train", "val")]
    words = make_pipeline(SimpleImputer(strategy="constant", fill_value="missing"),
                          OneHotEncoder(handle_unknown="ignore", sparse_output=False))  # fmt: skip
    numbers = make_pipeline(SimpleImputer(strategy="median"), StandardScaler())
    columns = ColumnTransformer([("numbers", numbers, NUMBERS), ("words", words, WORDS)]).fit(frames[0])
    return tuple(  # type: ignore[return-value]
        TensorDataset(torch.tensor(columns.transform(f), dtype=torch.float32),
                      torch.tensor((f["income"] == ">50K").to_numpy(), dtype=torch.long))
        for f in frames
    )  # fmt: skip


def perceptron(width: int) -> Any:
    from torch import nn

    return nn.Sequential(nn.Linear(width, 128), nn.ReLU(), nn.Dropout(0.1), nn.Linear(128, 64), nn.ReLU(),
                         nn.Linear(64, 2))  # fmt: skip


def reviews(data: Path, split: str) -> tuple[list[str], list[int]]:
    lines = (data / f"{split}.tsv").read_text(encoding="utf-8").splitlines()[1:]
    rows = [line.split("\t") for line in lines]
    return [r[0] for r in rows], [int(r[1]) for r in rows]


def resnet18() -> Any:
    from torchvision.models import resnet18 as build

    return build(num_classes=CLASSES)


# Lightning: a module, loaders, a Trainer


def lightning(row: str, data: Path, epochs: int) -> None:
    import lightning as L
    import torch
    from torch import nn
    from torch.utils.data import DataLoader

    L.seed_everything(0)
    collate = None
    if row == "cifar10":
        train, val = pictures(data, "train", True), pictures(data, "val", False)
        net, size = resnet18(), 64
    elif row == "adult":
        train, val = table(data)
        net, size = perceptron(train.tensors[0].shape[1]), 64
    else:
        train, val, net, collate = bag_of_words(data)
        size = 32

    class Module(L.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.net = net

        def training_step(self, batch: Any, batch_idx: int) -> Any:
            loss = nn.functional.cross_entropy(self.net(batch[0]), batch[1])
            self.log("train_loss", loss, prog_bar=True)
            return loss

        def validation_step(self, batch: Any, batch_idx: int) -> None:
            right = (self.net(batch[0]).argmax(1) == batch[1]).float().mean()
            self.log("accuracy", right, prog_bar=True, batch_size=len(batch[1]))

        def on_validation_epoch_end(self) -> None:
            if not self.trainer.sanity_checking:
                say(float(self.trainer.callback_metrics["accuracy"]))

        def configure_optimizers(self) -> Any:
            return torch.optim.Adam(self.parameters(), lr=1e-3)

    trainer = L.Trainer(max_epochs=epochs, default_root_dir=data.parent / "lightning")
    trainer.fit(Module(), DataLoader(train, size, shuffle=True, collate_fn=collate),
                DataLoader(val, 256, collate_fn=collate))  # fmt: skip


def bag_of_words(data: Path) -> tuple[Any, Any, Any, Any]:
    """The net of PyTorch's text classification tutorial: the mean of word vectors, and one layer."""
    import torch
    from torch import nn

    texts, labels = reviews(data, "train")
    words = {w: i for i, w in enumerate(sorted({w for t in texts for w in t.split()}), 1)}

    def collate(rows: list[tuple[str, int]]) -> tuple[Any, Any]:
        ids = [torch.tensor([words.get(w, 0) for w in t.split()]) for t, _ in rows]
        padded = nn.utils.rnn.pad_sequence(ids, batch_first=True, padding_value=0)
        return padded, torch.tensor([label for _, label in rows])

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.bag, self.head = nn.EmbeddingBag(len(words) + 1, 64, padding_idx=0), nn.Linear(64, 2)

        def forward(self, ids: Any) -> Any:
            return self.head(self.bag(ids))

    val = list(zip(*reviews(data, "dev"), strict=True))
    return list(zip(texts, labels, strict=True)), val, Net(), collate


# The Trainer of transformers


def hugging_face(row: str, data: Path, epochs: int) -> None:
    import numpy as np
    from transformers import Trainer, TrainerCallback, TrainingArguments

    class Words(TrainerCallback):
        def on_evaluate(self, args: Any, state: Any, control: Any, metrics: Any = None, **more: Any) -> None:
            say(metrics["eval_accuracy"])

    collate, tokenizer = None, None
    if row == "cifar10":
        model, train, val, collate = residual_net(data)
        rate = 1e-3
    elif row == "adult":
        model, train, val, collate = labelled_perceptron(data)
        rate = 1e-3
    else:
        model, train, val, tokenizer = small_bert(data)
        rate = 5e-4
    arguments = TrainingArguments(
        output_dir=str(data.parent / "hugging_face"), num_train_epochs=epochs, learning_rate=rate, report_to=[],
        eval_strategy="epoch", use_cpu=True, per_device_train_batch_size=32, per_device_eval_batch_size=256,
    )  # fmt: skip
    trainer = Trainer(
        model, arguments, data_collator=collate, train_dataset=train, eval_dataset=val, processing_class=tokenizer,
        compute_metrics=lambda p: {"accuracy": float((np.argmax(p.predictions, 1) == p.label_ids).mean())},
        callbacks=[Words()],
    )  # fmt: skip
    trainer.train()


def residual_net(data: Path) -> tuple[Any, ...]:
    """Transformers' ResNet of 18 layers."""
    import torch
    from transformers import ResNetConfig, ResNetForImageClassification

    config = ResNetConfig(layer_type="basic", hidden_sizes=[64, 128, 256, 512], depths=[2, 2, 2, 2], num_labels=CLASSES)

    def collate(rows: list[Any]) -> dict[str, Any]:
        return {"pixel_values": torch.stack([r[0] for r in rows]), "labels": torch.tensor([r[1] for r in rows])}

    return ResNetForImageClassification(config), pictures(data, "train", True), pictures(data, "val", False), collate


def labelled_perceptron(data: Path) -> tuple[Any, ...]:
    import torch
    from torch import nn

    train, val = table(data)

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = perceptron(train.tensors[0].shape[1])

        def forward(self, x: Any, labels: Any) -> Any:
            logits = self.net(x)
            return {"loss": nn.functional.cross_entropy(logits, labels), "logits": logits}

    def collate(rows: list[Any]) -> dict[str, Any]:
        return {"x": torch.stack([r[0] for r in rows]), "labels": torch.stack([r[1] for r in rows])}

    return Net(), train, val, collate


def small_bert(data: Path) -> tuple[Any, ...]:
    """BERT of 2 layers 128 wide (the authors' `tiny`), with a WordPiece tokenizer trained on the texts."""
    from tokenizers import BertWordPieceTokenizer
    from transformers import BertConfig, BertForSequenceClassification, BertTokenizerFast

    texts = reviews(data, "train")[0]
    pieces = BertWordPieceTokenizer()
    pieces.train_from_iterator(texts, vocab_size=8000, show_progress=False)
    tokenizer = BertTokenizerFast(tokenizer_object=pieces._tokenizer)
    config = BertConfig(vocab_size=8000, hidden_size=128, num_hidden_layers=2, num_attention_heads=2,
                        intermediate_size=512)  # fmt: skip

    def split(name: str) -> list[dict[str, Any]]:
        found, labels = reviews(data, name)
        encoded = tokenizer(found, truncation=True, max_length=128)
        return [{"input_ids": i, "attention_mask": m, "labels": y} for i, m, y in
                zip(encoded["input_ids"], encoded["attention_mask"], labels, strict=True)]  # fmt: skip

    return BertForSequenceClassification(config), split("train"), split("dev"), tokenizer


# fastai


def fastai(row: str, data: Path, epochs: int) -> None:
    from fastai.callback.core import Callback

    class Words(Callback):
        order = 60  # behind the recorder

        def after_epoch(self) -> None:
            say(float(self.recorder.values[-1][-1]))

    learner, rate = {"cifar10": fastai_pictures, "adult": fastai_table, "sst2": fastai_texts}[row](data)
    learner.add_cb(Words())
    learner.fit_one_cycle(epochs, rate) if rate else learner.fit_one_cycle(epochs)


def fastai_pictures(data: Path) -> tuple[Any, float | None]:
    from fastai.vision.all import ImageDataLoaders, Learner, accuracy, aug_transforms, xresnet18

    loaders = ImageDataLoaders.from_folder(data, train="train", valid="val", batch_tfms=aug_transforms(), num_workers=0)
    return Learner(loaders, xresnet18(n_out=CLASSES), metrics=accuracy), 3e-3


def fastai_table(data: Path) -> tuple[Any, float | None]:
    import pandas as pd
    from fastai.tabular.all import Categorify, FillMissing, Normalize, TabularDataLoaders, accuracy, tabular_learner

    frames = [pd.read_csv(data / f"{split}.csv") for split in ("train", "val")]
    whole = pd.concat(frames, ignore_index=True)
    loaders = TabularDataLoaders.from_df(
        whole, data, procs=[Categorify, FillMissing, Normalize], cat_names=WORDS, cont_names=NUMBERS, y_names="income",
        valid_idx=list(range(len(frames[0]), len(whole))), num_workers=0,
    )  # fmt: skip
    return tabular_learner(loaders, metrics=accuracy), None


def fastai_texts(data: Path) -> tuple[Any, float | None]:
    import pandas as pd
    from fastai.text.all import AWD_LSTM, TextDataLoaders, accuracy, text_classifier_learner

    frames = [pd.DataFrame(dict(zip(("text", "label"), reviews(data, s), strict=True))) for s in ("train", "dev")]
    whole = pd.concat([f.assign(is_valid=bool(i)) for i, f in enumerate(frames)], ignore_index=True)
    loaders = TextDataLoaders.from_df(whole, data, text_col="text", label_col="label", valid_col="is_valid",
                                      num_workers=0)  # fmt: skip
    return text_classifier_learner(loaders, AWD_LSTM, pretrained=False, metrics=accuracy), 1e-2


SYSTEMS = {"lightning": lightning, "hugging_face": hugging_face, "fastai": fastai}

if __name__ == "__main__":
    SYSTEMS[sys.argv[1]](sys.argv[2], Path(sys.argv[3]), int(sys.argv[4]))
