set -e
W=${W:-$(mktemp -d)}; cd $W
cat > params.yaml <<'Y'
data: {source: digits, train_per_class: 10}
zoo:
  candidates:
    - {arch: resnet18, weights: none, size: 32}
    - {arch: mobilenet_v3_small, weights: none, size: 32}
    - {arch: "timm:tf_efficientnet_lite0", weights: bundled, size: 64, depth: auto}
    - {arch: shufflenet_v2_x0_5, weights: none, size: 32, depth: 99}
select: {folds: 3, finetune_epochs: 2}
Y
R=/tmp/h/selection
for s in ${STAGES:-locate ingest validate split select}; do PYTHONPATH=$R/src $R/.venv/bin/python -m graft.stages.$s; done
echo $W > /tmp/h/selection/.w
