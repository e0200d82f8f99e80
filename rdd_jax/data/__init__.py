"""Image data: whole sets in memory (`datasets`), augmentation on the device (`augment`), epoch order (`sampling`)."""
