"""The manifests of the documentation are what Kubernetes takes."""

import kubernetes_validate
import pytest
import yaml

from c2cotel_docs import ROOT, blocks

PAGE = ROOT / "docs/deployment/kubernetes.md"


def manifests():
    """Those of Kubernetes itself: whoever defines other kinds publishes no schema for it here."""
    for block in blocks.read(PAGE, ROOT).blocks:
        if block.language == "yaml" and block.title:
            for manifest in yaml.safe_load_all(block.text):
                if str(manifest.get("apiVersion", "")).endswith(("apps/v1", "k8s.io/v1")):
                    yield manifest


@pytest.mark.parametrize("manifest", list(manifests()), ids=lambda it: it["kind"])
def test_a_manifest_is_valid(manifest):
    version = kubernetes_validate.latest_version()
    assert kubernetes_validate.validate(manifest, version, strict=True)


def test_a_misspelt_field_would_be_noticed():
    manifest = next(it for it in manifests() if it["kind"] == "Deployment")
    manifest["spec"]["template"]["spec"]["containers"][0]["readynessProbe"] = {}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(manifest, kubernetes_validate.latest_version(), strict=True)
