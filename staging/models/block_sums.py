"""Block sums: what each block of an object version must be."""

from django.db import models

from staging.models.object import Object


class BlockSums(models.Model):
    """The sums of one version's blocks, in order: see ``staging/blocks.py``.

    A row of its own, because nothing but a read of the bytes wants them: four MiB for an object of a TiB. Small
    objects, those of mounted buckets and those received before there were sums have none.
    """

    object = models.OneToOneField(Object, on_delete=models.CASCADE, primary_key=True, related_name="block_sums")
    sums = models.BinaryField()

    class Meta:
        verbose_name_plural = "block sums"

    def __str__(self) -> str:
        return f"sums of {self.object_id}"
