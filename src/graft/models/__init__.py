"""Networks: the zoo, pretrained weights, backbone and preprocessing."""
