"""Image data: data sets in memory and streamed, augmentation on the devices, samplers, and the input pipeline."""
