"""The plugins of the embedded gateway, one small file each."""
