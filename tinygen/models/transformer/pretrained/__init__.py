"""Folders as the transformers package keeps models in, read and written without it: `config.json`
and one or several safetensors files, of GPT-2, Llama, Mistral, Qwen2 and Qwen3 type.

    settings.py   config.json      <-> GPTConfig, LlamaConfig
    places.py     a tensor's name  <-> where it lies in a model
    reading.py, writing.py         the folder
"""

from tinygen.models.transformer.pretrained.reading import from_pretrained
from tinygen.models.transformer.pretrained.writing import save_pretrained

__all__ = ["from_pretrained", "save_pretrained"]
