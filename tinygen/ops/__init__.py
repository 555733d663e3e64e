"""Bootstrap: star imports of whatever exists; the final explicit list comes when all files stand."""
import importlib, pathlib
for _f in sorted(pathlib.Path(__file__).parent.glob("*.py")):
    if _f.stem != "__init__":
        _m = importlib.import_module(f"tinygen.ops.{_f.stem}")
        for _n in getattr(_m, "__all__", []):
            globals()[_n] = getattr(_m, _n)
