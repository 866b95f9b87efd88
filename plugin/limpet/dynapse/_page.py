def page(report): raise NotImplementedError
