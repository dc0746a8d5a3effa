"""resolve: params.yaml, configs/ and the code -> resolved/, what each stage's result depends on."""

from radcap.runtime.startup import run_stage
from radcap import files, layout, settings
from radcap.pipeline import resolve


def main() -> None:
    params = settings.load()
    with files.atomic_folder(layout.RESOLVED) as out:
        resolve.write(params, out)


if __name__ == "__main__":
    run_stage(main)
