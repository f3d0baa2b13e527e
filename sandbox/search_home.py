"""The home folder of a search engine, assembled of its jars: its launcher, its modules, those of its security."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import zipfile
from collections.abc import Iterable
from pathlib import Path

from sandbox.artifacts import ArtifactSet
from sandbox.cache import exclusive
from sandbox.engines import Engine
from sandbox.java import compile_java
from sandbox.security import Security

MODULE_LAUNCHER = Path(__file__).parent / "java" / "ElasticsearchLauncher.java"
PLUGIN_LAUNCHER = MODULE_LAUNCHER.with_name("SearchLauncher.java")
ANALYSIS = MODULE_LAUNCHER.with_name("AnalysisModule.java")
_SECURITY_ANALYSIS = MODULE_LAUNCHER.with_name("SecurityAnalysisModule.java")
_TRANSPORT = "transport-netty4"
_ANALYSIS_MODULE = "analysis"


def assemble(engine: Engine) -> Path:
    """Make the home folder that the server expects out of the fetched jars; return the launcher's class folder.

    The launcher and the analysis are compiled once. Where the engine loads modules, the transport and the analysis are
    modules with folders and descriptors of their own, else both are plugins on the class path. All is made only when
    absent or older than its source; several processes may do it at once.
    """
    artifacts = engine.artifacts
    source = MODULE_LAUNCHER if engine.has_modules else PLUGIN_LAUNCHER
    launcher = artifacts.directory / f"launcher-{_digest(source)}-{_digest(ANALYSIS)}"
    if launcher.exists():
        return launcher
    with exclusive(artifacts.directory.with_name("assemble.lock")):
        if launcher.exists():
            return launcher
        analysis = _compile(engine, ANALYSIS)
        if engine.has_modules:
            _assemble_transport(artifacts)
            _assemble_analysis(artifacts, analysis)
        partial = _compile(engine, source)
        if not engine.has_modules:
            for each in analysis.glob("*.class"):
                each.rename(partial / each.name)
            shutil.rmtree(analysis)
        partial.rename(launcher)
    return launcher


def _digest(source: Path) -> str:
    return hashlib.sha256(source.read_bytes()).hexdigest()[:12]


def _compile(engine: Engine, source: Path) -> Path:
    """Compile a source file, with the engine's own package in place of Elasticsearch's; return the class folder."""
    artifacts = engine.artifacts
    partial = artifacts.directory / f".{source.stem}.partial"
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    own = partial / source.name
    text = source.read_text(encoding="utf-8").replace("import org.elasticsearch.", f"import {engine.package}.")
    own.write_text(text, encoding="utf-8")
    jars = [*artifacts.library.glob("*.jar"), *artifacts.directory.glob("modules/*/*.jar")]
    compile_java(own, class_path=os.pathsep.join(map(str, jars)), output=partial, classes_for=engine.java)
    own.unlink()
    return partial


def _assemble_transport(artifacts: ArtifactSet) -> None:
    module = artifacts.directory / "modules" / _TRANSPORT
    module.mkdir(parents=True, exist_ok=True)
    _describe(
        artifacts,
        module,
        _TRANSPORT,
        "HTTP and transport over Netty",
        "org.elasticsearch.transport.netty4.Netty4Plugin",
    )
    for pattern in ("netty-*.jar", f"{_TRANSPORT}-*.jar"):
        for jar in artifacts.library.glob(pattern):
            jar.rename(module / jar.name)


def _assemble_analysis(artifacts: ArtifactSet, partial: Path) -> None:
    module = artifacts.directory / "modules" / _ANALYSIS_MODULE
    _pack(partial, partial / f"{ANALYSIS.stem}.jar")
    for each in partial.glob("*.class"):
        each.unlink()
    _describe(artifacts, partial, _ANALYSIS_MODULE, "What custom analyzers are made of", ANALYSIS.stem)
    shutil.rmtree(module, ignore_errors=True)
    partial.rename(module)


def _describe(
    artifacts: ArtifactSet, module: Path, name: str, description: str, class_name: str, *, extends: str | None = None
) -> None:
    descriptor = {
        "name": name,
        "description": description,
        "version": artifacts.version,
        "elasticsearch.version": artifacts.version,
        "java.version": "17",
        "classname": class_name,
        **({} if extends is None else {"extended.plugins": extends}),
    }
    text = "".join(f"{key}={value}\n" for key, value in descriptor.items())
    (module / "plugin-descriptor.properties").write_text(text, encoding="utf-8")


def assemble_security(engine: Engine, security: Security) -> Path:
    """Make what the engine's security needs besides its jars, once; return the home folder of the secured engine."""
    artifacts = security.artifacts
    home = artifacts.directory / f"home-{_digest(_SECURITY_ANALYSIS)}"
    if home.exists():
        return home
    with exclusive(artifacts.directory.with_name("assemble.lock")):
        if home.exists():
            return home
        partial = home.with_name(".home.partial")
        shutil.rmtree(partial, ignore_errors=True)
        if engine.has_modules:
            _assemble_modules(engine, security, partial)
        else:
            (archive,) = artifacts.library.glob("*.zip")
            with zipfile.ZipFile(archive) as packed:
                packed.extractall(partial)
            own = {_artifact(jar) for jar in engine.artifacts.library.glob("*.jar")}
            for jar in partial.glob("*.jar"):
                if _artifact(jar) in own:  # the engine has another version of it
                    jar.unlink()
        partial.rename(home)
    return home


def _assemble_modules(engine: Engine, security: Security, home: Path) -> None:
    modules = home / "modules"
    shutil.copytree(engine.artifacts.directory / "modules", modules)
    (home / "lib").symlink_to(engine.artifacts.library)
    core, plugin, analysis = (modules / name for name in ("x-pack-core", "x-pack-security", "security-analysis"))
    artifacts = security.artifacts
    own = {jar.name for jar in engine.artifacts.library.glob("*.jar")}
    jars = [jar for jar in artifacts.library.glob("*.jar") if jar.name not in own]
    _copy((jar for jar in jars if _artifact(jar) in security.core), core)
    _copy((jar for jar in jars if _artifact(jar) not in security.core), plugin)
    _copy((modules / _TRANSPORT).glob("*.jar"), plugin)  # it extends classes of a module that nothing else may see
    compiled = _compile(engine, _SECURITY_ANALYSIS)
    analysis.mkdir()
    _pack(compiled, analysis / f"{_SECURITY_ANALYSIS.stem}.jar")
    shutil.rmtree(compiled)
    _describe(engine.artifacts, core, core.name, "The base of the security", "org.elasticsearch.xpack.core.XPackPlugin")
    _describe(engine.artifacts, plugin, plugin.name, "The security", security.plugin, extends=core.name)
    _describe(
        engine.artifacts, analysis, analysis.name, "What the security index's analyzers need", _SECURITY_ANALYSIS.stem
    )


def _artifact(jar: Path) -> str:
    """Return the name of a jar's artifact, without its version."""
    return re.sub(r"-\d.*", "", jar.name)


def _copy(jars: Iterable[Path], folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for jar in jars:
        shutil.copy(jar, folder)


def _pack(classes: Path, jar: Path) -> None:
    with zipfile.ZipFile(jar, "w") as packed:
        for each in sorted(classes.glob("*.class")):
            packed.write(each, each.name)
