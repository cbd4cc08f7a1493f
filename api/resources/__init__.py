"""The resources of the API by capability, as in `domain/`. A view asks one rule and maps its answer."""
