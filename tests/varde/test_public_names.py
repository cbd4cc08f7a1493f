"""What `import varde` offers."""

import inspect
import typing
from collections.abc import Iterator

import varde


def functions() -> Iterator[tuple[str, typing.Any]]:
    """Every public function, method and property of a public name."""
    for name in varde.__all__:
        public = getattr(varde, name)
        if inspect.isfunction(public):
            yield name, public
        elif inspect.isclass(public):
            for part, value in vars(public).items():
                function = value.fget if isinstance(value, property) else value
                if not part.startswith("_") and inspect.isfunction(function):
                    yield f"{name}.{part}", function


def test_every_class_in_a_public_signature_can_be_imported() -> None:
    """Whoever annotates a program needs no name from inside the package."""
    hidden = {
        f"{name}: {each.__name__}"
        for name, function in functions()
        for hint in typing.get_type_hints(function).values()
        for each in (hint, *typing.get_args(hint))
        if inspect.isclass(each) and each.__module__.startswith("varde") and each.__name__ not in varde.__all__
    }
    assert hidden == set()
