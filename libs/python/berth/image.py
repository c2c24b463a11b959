"""What a function's containers are made of."""

from __future__ import annotations

import os
from typing import Any, Dict, List, Mapping, Optional, Tuple

from .exceptions import InvalidError
from .resources import Secret


class Image:
    """An image by how it is made. Each step gives a new one; the same steps are the same image, built once. Files are read
    where the app is deployed from, when that happens."""

    def __init__(self, source: Mapping[str, Any] = {}, steps: Tuple[Dict[str, Any], ...] = ()) -> None:
        self._source = dict(source)
        self._steps = steps

    # ---- what it begins with

    @classmethod
    def debian_slim(cls, python_version: Optional[str] = None) -> Image:
        """Berth's own base image, with Debian's Python; or the registry's slim Debian with another Python (`"3.12"`)."""
        return cls({"base": "python:%s-slim-bookworm" % python_version} if python_version else {})

    @classmethod
    def from_registry(cls, tag: str, *, secret: Optional[Secret] = None) -> Image:
        """An image of a registry, with `python3` in it; `secret` has REGISTRY_USERNAME and REGISTRY_PASSWORD."""
        return cls({"base": tag, **({"registry_secret": secret.name} if secret else {})})

    @classmethod
    def from_dockerfile(cls, path: str, *, context_dir: Optional[str] = None) -> Image:
        """What a Dockerfile or Containerfile makes; `context_dir` holds what it copies."""
        return cls({"containerfile": path, **({"context": context_dir} if context_dir else {})})

    # ---- steps

    def apt_install(self, *packages: str) -> Image:
        return self._with({"apt_install": {"packages": list(packages)}})

    def pip_install(
        self,
        *packages: str,
        index_url: Optional[str] = None,
        extra_index_urls: List[str] = [],
        find_links: List[str] = [],
        pre: bool = False,
    ) -> Image:
        step: Dict[str, Any] = {"packages": list(packages)}
        return self._with({"pip_install": _pip(step, index_url, extra_index_urls, find_links, pre)})

    def pip_install_from_requirements(
        self,
        requirements_txt: str,
        *,
        index_url: Optional[str] = None,
        extra_index_urls: List[str] = [],
        find_links: List[str] = [],
        pre: bool = False,
    ) -> Image:
        step: Dict[str, Any] = {"requirements": requirements_txt}
        return self._with({"pip_install": _pip(step, index_url, extra_index_urls, find_links, pre)})

    def npm_install(self, *packages: str) -> Image:
        return self._with({"npm_install": {"packages": list(packages)}})

    def run_commands(self, *commands: str) -> Image:
        """Each in a shell, as root."""
        return self._with({"run_commands": {"commands": list(commands)}})

    def env(self, variables: Mapping[str, str]) -> Image:
        """Variables of later steps and of containers. Whoever may use the image can read them: no secrets."""
        return self._with({"env": {"variables": dict(variables)}})

    def workdir(self, path: str) -> Image:
        return self._with({"workdir": {"path": path}})

    def add_local_dir(self, local_path: str, remote_path: str) -> Image:
        """A folder of the machine that deploys."""
        return self._with({"copy": {"from": local_path, "to": remote_path}})

    def add_local_file(self, local_path: str, remote_path: str) -> Image:
        """A text file of the machine that deploys; below `remote_path` where that ends with a slash."""
        return self._with({"copy": {"file": local_path, "to": remote_path}})

    def _with(self, step: Dict[str, Any]) -> Image:
        if "containerfile" in self._source:
            raise InvalidError("an image of a Dockerfile takes no further steps: write them into it")
        return Image(self._source, (*self._steps, step))

    # ---- for who deploys

    def definition(self, folder: str) -> Dict[str, Any]:
        """As the REST API has it, but for folders that are still to be uploaded: their absolute paths stand under `from`, or
        as the context. Relative paths are of `folder`."""
        if "containerfile" in self._source:
            context = self._source.get("context")
            return {
                "containerfile": _read(folder, self._source["containerfile"]),
                **({"context": _within(folder, context)} if context else {}),
            }
        return {**self._source, "steps": [_resolved(folder, step) for step in self._steps]}


def _pip(
    step: Dict[str, Any], index_url: Optional[str], extra: List[str], find_links: List[str], pre: bool
) -> Dict[str, Any]:
    given = {"index_url": index_url, "extra_index_urls": list(extra), "find_links": list(find_links), "pre": pre}
    return {**step, **{name: value for name, value in given.items() if value}}


def _resolved(folder: str, step: Dict[str, Any]) -> Dict[str, Any]:
    if "copy" in step:
        copy = step["copy"]
        if "from" in copy:
            return {"copy": {"from": _within(folder, copy["from"]), "to": copy["to"]}}
        to, name = os.path.split(copy["to"])
        return {"copy": {"files": {name or os.path.basename(copy["file"]): _read(folder, copy["file"])}, "to": to or "."}}
    if "requirements" in step.get("pip_install", {}):
        pip = step["pip_install"]
        return {"pip_install": {**pip, "requirements": _read(folder, pip["requirements"])}}
    return step


def _within(folder: str, path: str) -> str:
    return os.path.join(folder, os.path.expanduser(path))


def _read(folder: str, path: str) -> str:
    try:
        with open(_within(folder, path), encoding="utf-8") as file:
            return file.read()
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidError("an image needs the text file %s: %s" % (path, error)) from None
